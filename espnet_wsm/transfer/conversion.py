"""From an upstream and audio to a converted upstream: teacher-forced first, then on its own inputs."""

import copy
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import fmean
from typing import Any

import torch
from torch import Tensor

from espnet_wsm.data.kaldi.excerpts import Excerpt
from espnet_wsm.errors import UserError
from espnet_wsm.files import digest_text, write_atomically, write_text
from espnet_wsm.frames import HOP, SAMPLE_RATE
from espnet_wsm.transfer.audio_pool import Piece, make_pool
from espnet_wsm.transfer.durations import DurationErrors, Encode, Hidden, measure_by_duration
from espnet_wsm.transfer.heads import read_heads
from espnet_wsm.transfer.learning import Curve, TransferSettings, learn, list_students
from espnet_wsm.transfer.pairs import Pair, compute_pairs, split_pairs
from espnet_wsm.transfer.together import (
    Comparison,
    Read,
    States,
    TogetherCurve,
    TogetherSettings,
    learn_together,
)
from espnet_wsm.upstream.checkpoint import find_checkpoint
from espnet_wsm.upstream.config import READ_OFF, WsmConfig
from espnet_wsm.upstream.conversion import drop_positions, record_conversion, write_upstream
from espnet_wsm.upstream.conversion_record import CONVERTED_FILE, CONVERTING_FILE, read_conversion
from espnet_wsm.upstream.cut import cut_upstream
from espnet_wsm.upstream.heads_record import EVEN
from espnet_wsm.upstream.load import load_upstream
from espnet_wsm.upstream.precision import choose_dtype
from espnet_wsm.upstream.prefix import FrozenPrefix
from espnet_wsm.upstream.suffix import TrainableSuffix
from espnet_wsm.upstream.surgery import prepare_suffix

FORCED_FILE, CHECKPOINT_FILE = "forced.pt", "checkpoint.pt"  # while it is under way
LITTLE = 300.0  # seconds of audio
HEADS_SECONDS = 180.0  # that are looked at for where heads look


@dataclass(frozen=True)
class ConversionSettings:
    """How an upstream is converted.

    Args:
        layers: how many, counted from the top; None for all.
        config: upstream and blocks; ``windows: attention`` are read off.
        steps: of the first phase, in which each block is given what the attention in its place is given.
        own_steps: of the second one, in which all are given what the student's layers below give.
        lr: learning rate of the first phase; 0.002 is what transfer has.
        own_lr: of the second one: 1.5e-4 is stable with Whisper base, 8e-4 diverged.
        longest: seconds of what goes through as one utterance.
        frames: of 20 ms in the batch of a step, padding included.
        seed: of what is drawn.
        positions: whether the convolution that gives positions below the layers stays.
    """

    layers: int | None
    config: WsmConfig
    steps: int = 400
    own_steps: int = 400
    lr: float = 0.002
    own_lr: float = 1.5e-4
    longest: float = 30.0
    frames: int = 3000
    seed: int = 0
    positions: bool = True


@dataclass(frozen=True)
class Converted:
    """A converted upstream, and what is left of what it was to give."""

    layers: tuple[int, ...]
    seconds: float
    forced: Curve
    together: TogetherCurve
    by_duration: tuple[DurationErrors, ...]


# Called when a phase begins, with its name and its steps; gives what is called with the number of those that
# are done, and the mean error on held-out speech.
StartPhase = Callable[[str, int], Callable[[int, float], None]]


@dataclass(frozen=True)
class _ForcedPairs:
    """What the attention of each layer is given and gives, computed when it is read (see ``PairBatches``)."""

    encode: Read
    count: int
    teacher: TrainableSuffix
    places: range

    def __len__(self) -> int:
        return self.count

    def read(self, number: int, device: torch.device) -> tuple[list[Pair], Tensor | None]:
        """The pairs (B, T, D) of each layer, and the padding mask (B, T), True = padded, or None."""
        hidden, mask = self.encode(number)
        return split_pairs(compute_pairs(self.teacher, hidden, mask, self.places), len(self.places)), mask


def convert(
    settings: ConversionSettings,
    excerpts: Sequence[Excerpt],
    folder: Path,
    device: torch.device,
    start_phase: StartPhase = lambda name, steps: lambda done, error: None,
) -> Converted | None:
    """Convert an upstream, going on where a killed process was; None if ``folder`` has the result already.

    Args:
        settings: how.
        excerpts: of audio; no text is read.
        folder: to write.
        device: where to compute.
        start_phase: told of every step.

    Raises:
        UserError: the upstream or the audio is faulty, or the folder belongs to another conversion.
    """
    pool = make_pool(excerpts, settings.longest, settings.frames, settings.seed)
    checkpoint = find_checkpoint(settings.config.upstream, settings.config.trust)
    if checkpoint.parent is not None:
        raise UserError(
            f"{settings.config.upstream} is a converted upstream already: convert the one it was made of, "
            f"{checkpoint.parent.place}"
        )
    plan = _plan(settings, excerpts, checkpoint.digest)
    if _is_done(folder, plan):
        return None
    expert, _ = load_upstream(settings.config.upstream, settings.config.trust)
    family = checkpoint.family
    shape, dim, depth = (
        family.describe_layers(expert), family.dim(expert), len(family.encoder(expert).layers)
    )  # fmt: skip
    count, most = settings.layers or depth, family.limit_frames(expert)
    if count > depth:
        raise UserError(f"{count} layers are to be converted, and the upstream has {depth}")
    if most is not None and settings.longest * SAMPLE_RATE / HOP > most:
        raise UserError(
            f"utterances are to be joined to {settings.longest:g} s, and the upstream takes no more than "
            f"{most * HOP / SAMPLE_RATE:g}"
        )
    without = None if settings.positions else _cut_without_positions(settings.config, device)
    folder.mkdir(parents=True, exist_ok=True)
    write_text(folder / CONVERTING_FILE, [json.dumps(plan)])
    places = range(depth - count, depth)
    prefix, suffix = cut_upstream(expert, family, num_below=0)
    prefix, teacher = prefix.to(device), suffix.eval().to(device).requires_grad_(False)

    def read(pieces: Sequence[Piece]) -> list[Tensor]:
        return [torch.from_numpy(piece.read()).to(device) for piece in pieces]

    def encode_for_teacher(pieces: Sequence[Piece]) -> Hidden:
        return prefix(read(pieces))

    def encode(pieces: Sequence[Piece]) -> Hidden:
        """The states for the teacher and behind them, in other channels, the student's if it has its own."""
        wavs = read(pieces)
        hidden, mask = prefix(wavs)
        return (hidden if without is None else torch.cat([hidden, without(wavs)[0]], dim=-1)), mask

    train = (lambda number: encode(pool.train[number])), len(pool.train)
    kept = [encode(pieces) for pieces in pool.held_out]  # as it is measured on time and again
    held_out = kept.__getitem__, len(kept)
    of_teacher, of_student = slice(dim), slice(-dim, None)
    forced_audio = (
        ((lambda number: encode_for_teacher(pool.train[number])), len(pool.train)),
        ((lambda number: (kept[number][0][..., of_teacher], kept[number][1])), len(kept)),
    )
    config = _find_windows(settings.config, encode_for_teacher, teacher, excerpts, places)
    torch.manual_seed(settings.seed)
    student = copy.deepcopy(teacher)
    prepare_suffix(student, places, dim, replace(config, trainable="mixer"))
    student.to(device)
    numbers = [place + 1 for place in places]
    forced = _learn_forced(
        settings, forced_audio, (teacher, student), places, folder / FORCED_FILE, device, start_phase
    )
    compared = Comparison(
        States(teacher, places[0], of_teacher),
        States(student, places[0], of_student),
        choose_dtype(settings.config.suffix_dtype, device),
    )
    blocks = [getattr(student.layers[place], family.attention) for place in places]
    on_step = start_phase("on their own inputs", settings.own_steps)
    together = learn_together(
        compared, blocks, train, held_out,
        TogetherSettings(settings.own_steps, settings.own_lr, settings.seed),
        folder / CHECKPOINT_FILE,
        lambda step, curve: on_step(step, fmean(curve.held_out[-1])),
    )  # fmt: skip
    by_duration = measure_by_duration(compared, encode, pool)
    result = Converted(tuple(numbers), pool.seconds, forced, together, by_duration)
    conversion = record_conversion(folder, config, checkpoint.digest, numbers, shape)
    conversion = replace(conversion, about={"plan": plan, **asdict(result)}, positions=settings.positions)
    write_upstream(folder, conversion, student.layers, family)
    for name in (CONVERTING_FILE, FORCED_FILE, CHECKPOINT_FILE):
        (folder / name).unlink(missing_ok=True)
    return result


def _cut_without_positions(config: WsmConfig, device: torch.device) -> FrozenPrefix:
    """What lies below the layers of an upstream, but without positions."""
    expert, checkpoint = load_upstream(config.upstream, config.trust)
    drop_positions(expert, checkpoint.family)
    return cut_upstream(expert, checkpoint.family, num_below=0)[0].to(device)


def _plan(settings: ConversionSettings, excerpts: Sequence[Excerpt], digest: str) -> dict[str, Any]:
    """What the result depends on."""
    audio = digest_text(
        "\n".join(f"{each.where} {each.start} {each.end} {each.channel}" for each in excerpts)
    )
    content = asdict(settings)
    del content["config"]["upstream"]
    if content["positions"]:  # as before there was a choice
        del content["positions"]
    return json.loads(json.dumps({"parent": digest, "audio": audio, **content}))


def _is_done(folder: Path, plan: dict[str, Any]) -> bool:
    """Whether a folder has the result of a plan.

    Raises:
        UserError: it has that of another, or something else.
    """
    remedy = "delete it, or give another --out"
    if (folder / CONVERTED_FILE).is_file():
        if read_conversion(folder).about.get("plan") == plan:
            return True
        raise UserError(f"{folder} is the result of another conversion: {remedy}")
    if (folder / CONVERTING_FILE).is_file():
        if json.loads((folder / CONVERTING_FILE).read_text(encoding="utf-8")) != plan:
            raise UserError(f"another conversion is under way in {folder}: {remedy}")
    elif folder.exists() and any(not each.name.startswith(".") for each in folder.iterdir()):
        raise UserError(f"{folder} holds other files: {remedy}")
    return False


def _find_windows(
    config: WsmConfig, encode: Encode, teacher: TrainableSuffix, excerpts: Sequence[Excerpt], places: range
) -> WsmConfig:
    """``config`` with windows as lists for each layer, read off the heads where it says so."""
    if config.mixer != "wsm_heads":
        return config
    if config.windows != READ_OFF:
        heads = getattr(teacher.layers[0], teacher.family.attention).num_heads
        return replace(config, windows=[[[-config.windows, config.windows]] * heads] * len(places))
    batches, seconds = [], 0.0
    for excerpt in excerpts:
        hidden, _ = encode([Piece((excerpt,))])
        batches.append((hidden, (hidden.size(1),)))
        seconds += excerpt.seconds
        if seconds >= HEADS_SECONDS:
            break
    record = read_heads(teacher, batches, 0)
    if record.is_even:
        raise UserError(f"{EVEN}: give their windows a width, --window FRAMES")
    windows = [[list(window) for window in record.layers[place].windows] for place in places]
    return replace(config, windows=windows)


def _learn_forced(
    settings: ConversionSettings,
    audio: tuple[tuple[Read, int], tuple[Read, int]],
    suffixes: tuple[TrainableSuffix, TrainableSuffix],
    places: range,
    file: Path,
    device: torch.device,
    start_phase: StartPhase,
) -> Curve:
    """The first phase, on audio to learn from and held-out audio; its result is kept in ``file``."""
    teacher, student = suffixes
    train, held_out = (_ForcedPairs(*part, teacher, places) for part in audio)
    students = list_students(student, places, "attention")
    on_step = start_phase("each attention", settings.steps)
    state = torch.load(file, weights_only=True, map_location=device) if file.is_file() else {}
    if state.get("ends"):
        for each, block in zip(students, state["blocks"], strict=True):
            each.block.load_state_dict(block)
        on_step(settings.steps, fmean(state["curve"]["held_out"][-1]))
        return Curve(**state["curve"] | {"layers": tuple(state["curve"]["layers"])})
    curve = learn(
        students, train, held_out,
        TransferSettings(steps=settings.steps, lr=settings.lr, frames=settings.frames, seed=settings.seed),
        [place + 1 for place in places], settings.config.suffix_dtype, device, file,
        lambda step, curve: on_step(step, fmean(curve.held_out[-1])),
        spread=held_out,
    )  # fmt: skip
    blocks = [each.block.state_dict() for each in students]
    state = {"ends": True, "blocks": blocks, "curve": asdict(curve)}
    write_atomically(file, lambda temporary: torch.save(state, temporary))
    return curve
