"""A linear layer from frozen features to characters, trained with CTC, and its error rate."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from espnet_wsm.data.dump.batches import make_batches
from espnet_wsm.data.text.tokens import SPACE
from espnet_wsm.errors import UserError

BATCH_FRAMES = 4000
FLAT_EPOCHS, FLAT_RATE = 5, 0.01

# References and hypotheses, in the same order -> errors and reference characters of each.
Score = Callable[[Sequence[str], Sequence[str]], tuple[list[int], list[int]]]


@dataclass(frozen=True)
class ProbeSettings:
    """Settings of the training, the same for all features.

    Args:
        train_set: set in ``dump/raw`` on which the linear layer is trained.
        valid_set: set by which learning rate and epoch are chosen.
        test_set: set whose error rate is reported.
        learning_rates: initial rates of Adam to try; they fall linearly to 0.
        max_epoch: the most epochs with each rate.
        patience: epochs without a better character error rate of ``valid_set`` before training stops.
        seed: seed of the order of batches and of the random upstream.
    """

    train_set: str = "train"
    valid_set: str = "dev"
    test_set: str = "test"
    learning_rates: tuple[float, ...] = (0.01, 0.03, 0.1)
    max_epoch: int = 100
    patience: int = 6
    seed: int = 0

    def __post_init__(self) -> None:
        if not self.learning_rates or min(self.learning_rates) <= 0:
            raise UserError(f"--learning_rates {self.learning_rates}: give positive numbers")
        for name in ("max_epoch", "patience"):
            if getattr(self, name) < 1:
                raise UserError(f"--{name} {getattr(self, name)}: at least 1 is needed")


@dataclass(frozen=True)
class LabelledFrames:
    """Features of a set, utterance after utterance: ``features`` (S, N, D) of S kinds, and of each utterance
    its number of frames, its text and its token ids."""

    features: Tensor
    lengths: list[int]
    texts: list[str]
    targets: list[Tensor]


class LinearProbe:
    """A linear layer from features to characters and the blank, trained with CTC.

    With CTC only, the alignment depends on the order of batches, and the character error rate of the same
    features varies by 8 points. So the layer first learns a uniform alignment of each text by cross-entropy
    (the flat start of hidden Markov models, without blanks), which reduces this to 2 points.

    Args:
        tokens: the token list, beginning with the blank.
        score: counts character errors.
        settings: settings of the training.
    """

    def __init__(self, tokens: list[str], score: Score, settings: ProbeSettings) -> None:
        self.tokens = [" " if token == SPACE else token for token in tokens]
        self.score = score
        self.settings = settings

    def train(
        self, sets: dict[str, tuple[Tensor, LabelledFrames]], rate: float
    ) -> tuple[nn.Linear, float, int, int]:
        """Train on ``sets["train"]``: the layer that is best on ``sets["dev"]``, its error rate there, the
        epoch it is of, and how many were trained. Each set is its features (N, D) and what they say."""
        features, labels = sets["train"]
        layer = nn.Linear(features.size(1), len(self.tokens))
        nn.init.zeros_(layer.weight)
        nn.init.zeros_(layer.bias)
        self._learn_uniform_alignment(layer, features, labels)
        batches = _make_batches(labels.lengths)
        optimiser = torch.optim.Adam(layer.parameters(), rate)
        steps = self.settings.max_epoch * len(batches)
        schedule = torch.optim.lr_scheduler.LinearLR(optimiser, 1.0, 0.0, steps)
        generator = torch.Generator().manual_seed(self.settings.seed)
        best, best_epoch, weights = float("inf"), 0, {}
        for epoch in range(1, self.settings.max_epoch + 1):
            for place in torch.randperm(len(batches), generator=generator).tolist():
                utterances, frames = batches[place]
                loss = _ctc_loss(
                    layer(features[frames]), labels.lengths[utterances], labels.targets[utterances]
                )
                optimiser.zero_grad()
                loss.backward()
                optimiser.step()
                schedule.step()
            error = self.measure(layer, *sets["dev"])
            if error < best:
                best, best_epoch = error, epoch
                weights = {name: value.clone() for name, value in layer.state_dict().items()}
            if epoch - best_epoch >= self.settings.patience:
                break
        layer.load_state_dict(weights)
        return layer, best, best_epoch, epoch

    def measure(self, layer: nn.Linear, features: Tensor, labels: LabelledFrames) -> float:
        """Character error rate of greedy decoding in percent, features (N, D)."""
        return find_rate(*self.count(layer, features, labels))

    @torch.no_grad()
    def count(
        self, layer: nn.Linear, features: Tensor, labels: LabelledFrames
    ) -> tuple[list[int], list[int]]:
        """Errors and reference characters of each utterance, decoded greedily, features (N, D)."""
        best = torch.cat([layer(part).argmax(-1) for part in features.split(BATCH_FRAMES)])
        return self.score(labels.texts, [self._spell(path) for path in best.split(labels.lengths)])

    def _spell(self, path: Tensor) -> str:
        """The text of a best path (T,): repeats and blanks removed."""
        return "".join(self.tokens[i] for i in torch.unique_consecutive(path).tolist() if i)

    def _learn_uniform_alignment(self, layer: nn.Linear, features: Tensor, labels: LabelledFrames) -> None:
        aligned = torch.cat(
            [
                target[torch.arange(length) * len(target) // length]
                for target, length in zip(labels.targets, labels.lengths, strict=True)
            ]
        )
        optimiser = torch.optim.Adam(layer.parameters(), FLAT_RATE)
        for _ in range(FLAT_EPOCHS):
            for frames in torch.arange(len(features)).split(BATCH_FRAMES):
                loss = nn.functional.cross_entropy(layer(features[frames]), aligned[frames])
                optimiser.zero_grad()
                loss.backward()
                optimiser.step()


def find_rate(errors: Sequence[int], characters: Sequence[int]) -> float:
    """Error rate in percent."""
    return 100 * sum(errors) / sum(characters)


def _make_batches(lengths: list[int]) -> list[tuple[slice, slice]]:
    """Batches of consecutive utterances of up to BATCH_FRAMES: slices of utterances and of frames."""
    batches, first, start = [], 0, 0
    for batch in make_batches(lengths, int, BATCH_FRAMES, padded=False):
        behind, end = first + len(batch), start + sum(batch)
        batches.append((slice(first, behind), slice(start, end)))
        first, start = behind, end
    return batches


def _ctc_loss(logits: Tensor, lengths: list[int], targets: list[Tensor]) -> Tensor:
    """Mean CTC loss per character; logits (N, V) of concatenated utterances."""
    padded = nn.utils.rnn.pad_sequence(list(logits.log_softmax(-1).split(lengths)))  # (T, B, V)
    sizes = torch.tensor([len(target) for target in targets])
    loss = nn.functional.ctc_loss(
        padded, torch.cat(targets), torch.tensor(lengths), sizes, reduction="sum", zero_infinity=True
    )
    return loss / sizes.sum()
