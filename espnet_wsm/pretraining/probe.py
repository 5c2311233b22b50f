"""How useful features are for speech recognition: the error rate of one linear layer on top of them."""

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from tqdm import tqdm

from espnet_wsm.data.dump.audio import read_dump
from espnet_wsm.data.kaldi.lists import name_some
from espnet_wsm.data.text.tokens import SPACE, Tokenizer
from espnet_wsm.errors import UserError
from espnet_wsm.frames import HOP, SAMPLE_RATE
from espnet_wsm.pretraining.extraction import count_frames, extract_dump
from espnet_wsm.pretraining.features import (
    NUM_MEL,
    Extractor,
    extract_log_mel,
    make_states_extractor,
)
from espnet_wsm.tables import render_table
from espnet_wsm.upstream import find_checkpoint

TOKEN_LIST = "token_list/char"
BATCH_FRAMES = 4000
FLAT_EPOCHS, FLAT_RATE = 5, 0.01
MINUTE = 60 * SAMPLE_RATE // HOP  # frames

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
class ProbeResult:
    """One row of the table.

    Args:
        features: description of the features.
        kind: ``log-mel``, ``upstream`` or ``random``.
        layer: layer of the upstream, None for log-mel.
        dev_cer: character error rate of the valid set in percent, with the best rate and epoch.
        test_cer: character error rate of the test set in percent.
        test_errors: errors in each utterance of the test set.
        learning_rate: the best learning rate.
        epoch: the best epoch.
        epochs: total number of epochs with all learning rates.
        seconds: duration of training.
    """

    features: str
    kind: str
    layer: int | None
    dev_cer: float
    test_cer: float
    test_errors: list[int]
    learning_rate: float
    epoch: int
    epochs: int
    seconds: float


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
        return _find_rate(*self.count(layer, features, labels))

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


def probe_upstream(
    upstream: str,
    dump: Path,
    score: Score,
    settings: ProbeSettings,
    layers: Sequence[int] | None = None,
) -> dict[str, Any]:
    """Probe log-mel, an upstream, and the same architecture with random weights.

    Args:
        upstream: name or path.
        dump: what stage 2 of a recipe has made, with ``token_list/char``.
        score: counts errors of characters.
        settings: the effort.
        layers: of the upstream, 0 for what enters the lowest; None: all.

    Returns:
        ``upstream`` with its ``digest`` and ``family``, ``data``, ``minutes`` by set, the settings,
        ``test_characters`` of each utterance, and ``results``, a :class:`ProbeResult` each.

    Raises:
        UserError: a dump that is broken, unfinished or without texts; a test set of one utterance; an
            upstream that cannot be loaded.
    """
    if (dump / ".unfinished").exists():
        raise UserError(f"{dump} is unfinished: run stage 2 of its recipe again")
    tokenizer = Tokenizer(dump / TOKEN_LIST, "char")
    tokens = (dump / TOKEN_LIST / "tokens.txt").read_text(encoding="utf-8").removesuffix("\n").split("\n")
    probe = LinearProbe(tokens, score, settings)
    checkpoint = find_checkpoint(upstream)
    chosen, extract = make_states_extractor(upstream, layers)
    _, extract_random = make_states_extractor(upstream, layers, settings.seed)
    kinds: dict[str, tuple[Extractor, Sequence[int | None]]] = {
        "log-mel": (lambda waves: [mel[:, None] for mel in extract_log_mel(waves)], [None]),
        "upstream": (extract, chosen),
        "random": (extract_random, chosen),
    }
    directories = {
        "train": dump / "raw" / settings.train_set,
        "dev": dump / "raw" / settings.valid_set,
        "test": dump / "raw" / settings.test_set,
    }
    results: list[ProbeResult] = []
    sets: dict[str, LabelledFrames] = {}
    for kind, (function, numbers) in kinds.items():
        sets.clear()  # one kind at a time: all layers of an hour of speech take gigabytes
        for name, directory in directories.items():
            sets[name] = _collect(directory, function, tokenizer)
        if len(sets["test"].texts) < 2:
            raise UserError(f"{directories['test']} has one utterance: intervals need more, --test_set")
        with tqdm(total=len(numbers) * len(settings.learning_rates), desc=f"probe {kind}") as progress:
            for place, layer in enumerate(numbers):
                results.append(_probe_state(probe, kind, layer, sets, place, progress))
    texts = sets["test"].texts
    return {
        "upstream": upstream,
        "digest": checkpoint.digest,
        "family": checkpoint.family.name,
        "data": _name_recipe(dump),
        "minutes": {name: round(sum(labelled.lengths) / MINUTE, 2) for name, labelled in sets.items()},
        **asdict(settings),
        "test_characters": score(texts, texts)[1],
        "results": [asdict(result) for result in results],
    }


def _find_rate(errors: Sequence[int], characters: Sequence[int]) -> float:
    """Error rate in percent."""
    return 100 * sum(errors) / sum(characters)


def _name_recipe(dump: Path) -> str:
    """The path of a dump in the tree of recipes; its absolute path means nothing elsewhere."""
    parts = dump.resolve().parts
    return "/".join(parts[parts.index("egs") :] if "egs" in parts else parts[-1:])


def _probe_state(
    probe: LinearProbe,
    kind: str,
    layer: int | None,
    sets: dict[str, LabelledFrames],
    place: int,
    progress: tqdm,
) -> ProbeResult:
    start = time.monotonic()
    train = sets["train"].features[place]
    mean, deviation = train.mean(0), train.std(0).clamp_min(1e-5)
    scaled = {name: ((each.features[place] - mean) / deviation, each) for name, each in sets.items()}
    runs = []
    for rate in probe.settings.learning_rates:
        runs.append((*probe.train(scaled, rate), rate))
        progress.update()
    linear, dev, epoch, _, rate = min(runs, key=lambda run: run[1])
    errors, characters = probe.count(linear, *scaled["test"])
    names = {"log-mel": f"log-mel {NUM_MEL}", "upstream": f"layer {layer}", "random": f"random layer {layer}"}
    return ProbeResult(
        features=names[kind],
        kind=kind,
        layer=layer,
        dev_cer=round(dev, 2),
        test_cer=round(_find_rate(errors, characters), 2),
        test_errors=errors,
        learning_rate=rate,
        epoch=epoch,
        epochs=sum(run[3] for run in runs),
        seconds=round(time.monotonic() - start, 1),
    )


def _collect(directory: Path, extract: Extractor, tokenizer: Tokenizer) -> LabelledFrames:
    utterances, num_samples = read_dump(directory)
    if missing := [each.id for each in utterances if not each.text]:
        raise UserError(f"{directory / 'text'} has no text of {name_some(missing)}: a probe needs texts")
    total = sum(count_frames(num_samples[each.id]) for each in utterances)
    features, lengths, texts, end = None, [], [], 0
    for utterance, frames in extract_dump(directory, extract):
        if features is None:
            features = torch.empty(frames.size(1), total, frames.size(2))
        features[:, end : end + len(frames)] = frames.transpose(0, 1)
        lengths.append(len(frames))
        texts.append(utterance.text)
        end += len(frames)
    return LabelledFrames(features, lengths, texts, [torch.tensor(tokenizer.ids(text)) for text in texts])


def _make_batches(lengths: list[int]) -> list[tuple[slice, slice]]:
    """Batches of consecutive utterances of up to BATCH_FRAMES: slices of utterances and of frames."""
    batches, first, start, end = [], 0, 0, 0
    for place, length in enumerate(lengths):
        if place > first and end + length - start > BATCH_FRAMES:
            batches.append((slice(first, place), slice(start, end)))
            first, start = place, end
        end += length
    return [*batches, (slice(first, len(lengths)), slice(start, end))]


def _ctc_loss(logits: Tensor, lengths: list[int], targets: list[Tensor]) -> Tensor:
    """Mean CTC loss per character; logits (N, V) of concatenated utterances."""
    padded = nn.utils.rnn.pad_sequence(list(logits.log_softmax(-1).split(lengths)))  # (T, B, V)
    sizes = torch.tensor([len(target) for target in targets])
    loss = nn.functional.ctc_loss(
        padded, torch.cat(targets), torch.tensor(lengths), sizes, reduction="sum", zero_infinity=True
    )
    return loss / sizes.sum()


def format_results(record: dict[str, Any]) -> str:
    """A table of the results of :func:`probe_upstream`, with the ``interval`` of each row."""
    head = ("features", "dev CER", "test CER", "95 % interval", "rate", "epoch", "s")
    rows = [
        (
            row["features"],
            f"{row['dev_cer']:.1f}",
            f"{row['test_cer']:.1f}",
            "{:.1f} to {:.1f}".format(*row["interval"]),
            f"{row['learning_rate']:g}",
            str(row["epoch"]),
            f"{row['seconds']:.0f}",
        )
        for row in record["results"]
    ]
    return render_table(head, rows, num_left=1)


def plot_results(record: dict[str, Any], file: Path) -> None:
    """Test error rates over the layers with their intervals, log-mel as a level and a band, as a picture.

    Args:
        record: result of :func:`probe_upstream`, with an ``interval`` in each row.
        file: file to write, in the format of its suffix.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 4), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    for kind, style, shift in (("upstream", "o-", -0.06), ("random", "s--", 0.06)):
        rows = [row for row in record["results"] if row["kind"] == kind]
        layers = [row["layer"] + shift for row in rows]
        (line,) = axes.plot(layers, [row["test_cer"] for row in rows], style, label=kind)
        axes.vlines(layers, *zip(*(row["interval"] for row in rows), strict=True), color=line.get_color())
    for row in record["results"]:
        if row["kind"] == "log-mel":
            axes.axhline(row["test_cer"], color="grey", linestyle=":", label=row["features"])
            axes.axhspan(*row["interval"], color="grey", alpha=0.15)
    axes.set_xlabel("layer (0: below the lowest)")
    axes.set_ylabel("CER of test, %, and its 95 % interval")
    axes.set_title(f"{Path(record['upstream']).name}\non {record['data']}", fontsize="medium")
    figure.legend(loc="outside lower center", ncols=3)
    file.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(file, dpi=120)
