"""What each layer of an upstream would lose by windows in place of its attention, from audio alone."""

import tempfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from espnet_wsm.data.dump.batches import make_batches
from espnet_wsm.errors import UserError
from espnet_wsm.transfer.heads import Batch
from espnet_wsm.transfer.learning import TransferSettings, learn, list_students
from espnet_wsm.transfer.pairs import PairBatches
from espnet_wsm.transfer.watch import watch_attention
from espnet_wsm.upstream.checkpoint import Checkpoint
from espnet_wsm.upstream.config import WsmConfig
from espnet_wsm.upstream.cut import cut_upstream
from espnet_wsm.upstream.heads_record import HeadWindowsRecord
from espnet_wsm.upstream.load import load_upstream
from espnet_wsm.upstream.prefix import FrozenPrefix
from espnet_wsm.upstream.suffix import TrainableSuffix
from espnet_wsm.upstream.surgery import prepare_suffix

HELD_OUT = 5  # of so many excerpts, one measures what is left and the others are learnt from


@dataclass(frozen=True)
class OpenUpstream:
    """An upstream that is cut below its lowest layer.

    Args:
        checkpoint: where it is from.
        prefix: what lies below the layers.
        suffix: all layers, in eval mode.
        dim: their channels D.
    """

    checkpoint: Checkpoint
    prefix: FrozenPrefix
    suffix: TrainableSuffix
    dim: int

    def encode(self, waveforms: Iterable[np.ndarray]) -> Iterator[Batch]:
        """The states that enter the lowest layer, of each waveform (N,) at 16 kHz: a batch of one."""
        for samples in waveforms:
            hidden, _ = self.prefix([torch.from_numpy(samples)])
            yield hidden, (hidden.size(1),)


def open_upstream(upstream: str, trust: bool = False) -> OpenUpstream:
    """Load an upstream and cut it.

    Raises:
        UserError: it is not on this machine or cannot be loaded.
    """
    expert, checkpoint = load_upstream(upstream, trust)
    dim = checkpoint.family.dim(expert)
    prefix, suffix = cut_upstream(expert, checkpoint.family, num_below=0)
    return OpenUpstream(checkpoint, prefix, suffix.eval(), dim)


def transfer_layers(
    opened: OpenUpstream,
    batches: Iterable[Batch],
    record: HeadWindowsRecord,
    steps: int,
    on_step: Callable[[], Any] = lambda: None,
) -> HeadWindowsRecord:
    """Let head windows with key weights learn what each layer's attention gives, one layer after the other.

    Args:
        opened: the upstream, whose attention is replaced in the process.
        batches: of :meth:`OpenUpstream.encode`; of every five, the first is held out.
        record: the windows of all its layers.
        steps: of the optimiser for each layer, see :class:`TransferSettings` for the rest.
        on_step: called after each step of each layer.

    Returns:
        ``record`` with what is left of each layer.

    Raises:
        UserError: there are fewer than two utterances; or see :func:`espnet_wsm.transfer.learning.learn`.
    """
    suffix, settings = opened.suffix, TransferSettings(steps=steps)
    states = {f"{number:06}": hidden for number, (hidden, _) in enumerate(batches)}
    if len(states) < 2:
        raise UserError(
            "--transfer needs two utterances, one to learn from and one to measure: give more audio"
        )
    lengths = {id: hidden.size(1) for id, hidden in states.items()}
    ordered = sorted(states, key=lambda id: (lengths[id], id))
    held_out = set(sorted(states)[::HELD_OUT])
    layers = []
    for place, layer in enumerate(record.layers):
        pairs = {id: _run_layer(suffix, place, hidden) for id, hidden in states.items()}
        states = {id: after for id, (_, after) in pairs.items()}
        stored = {id: pair for id, (pair, _) in pairs.items()}
        windows = [list(window) for window in layer.windows]
        torch.manual_seed(settings.seed)
        config = WsmConfig(opened.checkpoint.name, mixer="wsm_heads", windows=windows)
        prepare_suffix(suffix, [place], opened.dim, config)
        train, held = (
            PairBatches(stored, list(make_batches(ids, lengths.__getitem__, settings.frames)), 1)
            for ids in (
                [id for id in ordered if id not in held_out],
                [id for id in ordered if id in held_out],
            )
        )
        with tempfile.TemporaryDirectory() as folder:
            curve = learn(
                list_students(suffix, [place], settings.target), train, held, settings, [layer.layer],
                "float32", torch.device("cpu"), Path(folder) / "checkpoint.pt", lambda *_: on_step(),
            )  # fmt: skip
        layers.append(replace(layer, left_after=curve.held_out[-1][0]))
    return replace(record, layers=tuple(layers))


@torch.no_grad()
def _run_layer(suffix: TrainableSuffix, place: int, hidden: torch.Tensor) -> tuple[np.ndarray, torch.Tensor]:
    """What the attention of a layer is given and gives, (T, 2 D), and the layer's output (1, T, D)."""
    with watch_attention(suffix, [place]) as [watched]:
        after = suffix.family.run_layers([suffix.layers[place]], hidden, None, suffix.shared)
        return torch.cat(watched.take(), dim=-1)[0].numpy(), after
