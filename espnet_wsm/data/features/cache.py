"""The prefix cache on disk: the features (T, D) of each utterance from the frozen layers, computed once.

A cache is a folder of safetensors shards, with one tensor per utterance, named by its id, and Kaldi lists.
`plan_cache` decides what to compute and what to keep from earlier runs, parallel jobs pass their results to a
`ShardWriter`, `merge_cache` checks and completes the cache, `check_cache` is called before every use, and
`FeatureReader` reads the features for a data loader. While ``plan.json`` exists, the cache is being made;
``cache.json`` is written last, when it is complete.

The header of a shard holds everything its features depend on (the settings of the cache and a stamp of each
audio file) and a checksum of the features of each utterance. So the remains of a killed job can be judged
without any other file, and features that a disk has corrupted are not used.
"""

import hashlib
import json
import os
import re
import shutil
import zlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import astuple, dataclass
from itertools import chain
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

import numpy as np
from safetensors import SafetensorError, safe_open
from tqdm import tqdm

from espnet_wsm.data.dump.audio import read_own_num_samples
from espnet_wsm.data.kaldi.lists import byte_order, count, name_some, raise_collected, read_list, write_list
from espnet_wsm.errors import UserError
from espnet_wsm.files import write_atomically, write_text
from espnet_wsm.frames import SAMPLE_RATE, count_encoder_frames

if TYPE_CHECKING:
    # Tensors rather than arrays, because numpy knows no bfloat16. Imported where features are written or
    # read: planning, closing and checking a cache start without it.
    import torch

BYTES_PER_VALUE = {"float16": 2, "bfloat16": 2, "float32": 4}
CACHE_DTYPES = tuple(BYTES_PER_VALUE)
WIDER_DTYPE = {"float16": "bfloat16", "bfloat16": "float32"}  # the next type with a larger range
SHARD_BYTES = 128 * 2**20
UTTERANCES_PER_SHARD = 10_000  # the header has some 200 bytes for each; safetensors' limit is 100 MB
SPARE_DISK = 1.05  # disk space per byte of features, with headers, lists and rounding to blocks
# Run, job and number. Together they are unique, and a later run has greater names.
SHARD_NAME = re.compile(r"features\.(\d+)\.(\d+)\.(\d+)\.safetensors")
METADATA = "espnet_wsm_cache"
PLAN, WHOLE = "plan.json", "cache.json"
REMEDY = "run stage 2 again, or train without the cache (--cache false)"


@dataclass(frozen=True)
class AudioStamp:
    """State of an audio file: size in bytes, modification time, and the first 32 hexadecimal digits of the
    SHA-256 of its content. Only the digest decides whether it changed."""

    size: int
    mtime_ns: int
    digest: str


@dataclass(frozen=True)
class CacheInput:
    """One utterance to run through the prefix; ``audio`` is the path in ``wav.scp``."""

    id: str
    audio: str
    num_samples: int


@dataclass(frozen=True)
class Settings:
    """What all features of a cache depend on (``key``, defined by the caller) and how they are stored."""

    key: dict[str, str]
    dtype: str
    dim: int

    def differences_from(self, old: "Settings") -> list[str]:
        """``name was A, is B`` for everything that differs."""
        before, now = (
            {**each.key, "--cache_dtype": each.dtype, "channels": str(each.dim)} for each in (old, self)
        )
        return [
            f"{name} was {before.get(name, 'not recorded')}, is {now.get(name, 'no longer recorded')}"
            for name in sorted(before.keys() | now.keys())
            if before.get(name) != now.get(name)
        ]


def stamp_audio(path: Path | str) -> AudioStamp:
    """Read the whole file and stamp it; raises UserError if it cannot be read."""
    try:
        with open(path, "rb") as file:
            stat = os.fstat(file.fileno())
            digest = hashlib.file_digest(file, "sha256").hexdigest()[:32]
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}: run stage 2 again") from None
    return AudioStamp(stat.st_size, stat.st_mtime_ns, digest)


def _stamp_if_unchanged(path: str, old: AudioStamp) -> AudioStamp | None:
    """The current stamp of a file whose content is the same as in ``old``; None if it changed or is gone.

    The content is read only if the modification time differs, e.g. after the dump was made again.
    """
    try:
        stat = os.stat(path)
    except OSError:
        return None
    if (stat.st_size, stat.st_mtime_ns) == (old.size, old.mtime_ns):
        return old
    if stat.st_size != old.size:
        return None
    stamp = stamp_audio(path)
    return stamp if stamp.digest == old.digest else None


@dataclass(frozen=True)
class Shard:
    """The header of a shard: ``frames`` and ``audio`` stamps by id, ``order`` as in `SHARD_NAME`."""

    path: Path
    order: tuple[int, int, int]
    settings: Settings
    frames: dict[str, int]
    audio: dict[str, AudioStamp]


def _read_shard(path: Path, order: tuple[int, int, int]) -> Shard | None:
    """The header of ``path``, None if the file is truncated, damaged or not a shard."""
    try:
        with safe_open(path, framework="numpy") as shard:  # compares the size of the file with the header
            metadata = json.loads(shard.metadata()[METADATA])
            shapes = {id: shard.get_slice(id).get_shape() for id in shard.keys()}
        settings = Settings(metadata["key"], metadata["dtype"], metadata["dim"])
        audio = {id: AudioStamp(*metadata["audio"][id]) for id in shapes if id in metadata["crc32"]}
        frames = {id: shape[0] for id, shape in shapes.items() if shape[1:] == [settings.dim]}
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}: check its permissions") from None
    except (SafetensorError, KeyError, TypeError, ValueError):
        return None
    return (
        Shard(path, order, settings, frames, audio)
        if frames.keys() == audio.keys() == shapes.keys()
        else None
    )


def _checksum(features: "torch.Tensor") -> int:
    import torch

    return zlib.crc32(features.view(torch.uint8).numpy())


def _scan(out: Path) -> tuple[list[Shard], list[Path]]:
    """All shards in ``out``, earliest first, and the files that should be shards but cannot be read."""
    shards, damaged = [], []
    for path in sorted(out.iterdir()):
        if match := SHARD_NAME.fullmatch(path.name):
            shard = _read_shard(path, tuple(map(int, match.groups())))
            if shard:
                shards.append(shard)
            else:
                damaged.append(path)
    return sorted(shards, key=lambda shard: shard.order), damaged


def _format_bytes(number: float) -> str:
    return f"{number / 1e9:.1f} GB" if number >= 1e9 else f"{number / 1e6:.1f} MB"


@dataclass
class CachePlan:
    """What a cache will hold and what remains to be computed; prints as one line.

    ``bytes_total`` and ``bytes_pending`` are estimates for encoders with a frame every 20 ms. ``bytes_free``
    is the free disk space after useless files are deleted; ``discarded`` says why these are deleted, None if
    there are none.
    """

    name: str
    utterances: int
    pending: int
    hours: float
    dtype: str
    dim: int
    bytes_total: int
    bytes_pending: int
    bytes_free: int
    discarded: str | None

    def __str__(self) -> str:
        return (
            f"{self.name}: {count(self.utterances, 'utterance')}, {self.hours:.2f} h; "
            f"cache of layer features {_format_bytes(self.bytes_total)} ({self.dtype}, {self.dim} channels), "
            f"{self.pending} to compute; {_format_bytes(self.bytes_free)} free"
        )


def _read_inputs(wav_scp: Path, utt2num_samples: Path) -> list[CacheInput]:
    problems: list[str] = []
    audio = read_list(wav_scp, problems)
    num_samples = read_own_num_samples(utt2num_samples, wav_scp, audio, problems)
    for id, entry in audio.items():
        if not entry.value:
            problems.append(f"{wav_scp}:{entry.line}: id {id} has an empty audio path: run stage 2 again")
    if "__metadata__" in audio:
        problems.append(f"{wav_scp}: the id __metadata__ is reserved in safetensors files: rename it")
    raise_collected(problems, wav_scp.parent)
    return [CacheInput(id, entry.value, num_samples[id]) for id, entry in audio.items()]


def _make_batches(inputs: list[CacheInput], batch_seconds: float) -> Iterator[list[CacheInput]]:
    """Batches of similar length, longest first, each with at most ``batch_seconds`` of padded audio, or with
    one utterance. They depend only on the set as a whole."""
    limit = batch_seconds * SAMPLE_RATE
    batch: list[CacheInput] = []
    for each in sorted(inputs, key=lambda each: (-each.num_samples, byte_order(each.id))):
        if batch and batch[0].num_samples * (len(batch) + 1) > limit:
            yield batch
            batch = []
        batch.append(each)
    yield batch


def _count_bytes(inputs: Iterable[CacheInput], settings: Settings) -> int:
    """Size of the features of ``inputs``; audio shorter than the receptive field counts as one frame."""
    frames = sum(max(1, count_encoder_frames(each.num_samples)) for each in inputs)
    return frames * settings.dim * BYTES_PER_VALUE[settings.dtype]


def _tell_discarded(out: Path, settings: Settings, stale: list[Shard], damaged: list[Path]) -> str | None:
    sentences = []
    if stale:
        differences = "; ".join(settings.differences_from(stale[-1].settings))
        sentences.append(f"{out}: the features there do not fit and are computed anew: {differences}")
    if damaged:
        names = name_some(path.name for path in damaged)
        sentences.append(
            f"{out}: {count(len(damaged), 'shard')} cut short or damaged, computed anew: {names}"
        )
    return "; ".join(sentences) or None


def plan_cache(
    wav_scp: Path,
    utt2num_samples: Path,
    out: Path,
    key: dict[str, str],
    dtype: str,
    dim: int,
    batch_seconds: float = 120.0,
) -> CachePlan:
    """Decide what has to be computed for the cache ``out``, and write it there as ``plan.json``.

    ``key`` names everything besides the audio that the features depend on; ``dim`` is D, the number of
    channels. Batches hold at most ``batch_seconds`` of padded audio (120 s), or one longer utterance.
    Batches depend only on the lists, so that a resumed run, or one with another number of jobs, gives the
    same bits.

    Features stored with other settings are discarded. With the same settings, a batch is skipped if every
    utterance in it is stored and its audio has not changed; other batches are computed as a whole. From here
    until `merge_cache`, the cache counts as unfinished.

    Raises UserError for faulty lists, an invalid argument, or lack of disk space; nothing is then deleted.
    """
    if dtype not in CACHE_DTYPES:
        raise UserError(f"--cache_dtype {dtype}: choose one of {', '.join(CACHE_DTYPES)}")
    if not batch_seconds > 0:
        raise UserError(f"--batch_seconds {batch_seconds}: must be positive, e.g. 120")
    assert dim > 0, dim
    settings = Settings(key, dtype, dim)
    inputs = _read_inputs(wav_scp, utt2num_samples)
    out.mkdir(parents=True, exist_ok=True)
    shards, damaged = _scan(out)
    stale = [shard for shard in shards if shard.settings != settings]
    stored = {id: shard for shard in shards if shard.settings == settings for id in shard.audio}
    kept: dict[str, AudioStamp] = {}
    for each in tqdm(inputs, desc=f"{out.name}: compare audio", unit="utt", delay=1.0):
        if each.id in stored and (stamp := _stamp_if_unchanged(each.audio, stored[each.id].audio[each.id])):
            kept[each.id] = stamp
    batches = [
        batch for batch in _make_batches(inputs, batch_seconds) if any(each.id not in kept for each in batch)
    ]
    pending = {each.id for each in chain.from_iterable(batches)}
    kept = {id: stamp for id, stamp in kept.items() if id not in pending}

    needed = {stored[id].path for id in kept}
    unneeded = [shard.path for shard in shards if shard.path not in needed] + damaged
    unneeded += [path for path in out.iterdir() if re.fullmatch(r"\..*\.tmp", path.name)]
    plan = CachePlan(
        name=out.name,
        utterances=len(inputs),
        pending=len(pending),
        hours=sum(each.num_samples for each in inputs) / SAMPLE_RATE / 3600,
        dtype=dtype,
        dim=dim,
        bytes_total=_count_bytes(inputs, settings),
        bytes_pending=_count_bytes(chain.from_iterable(batches), settings),
        bytes_free=shutil.disk_usage(out).free + sum(path.stat().st_size for path in unneeded),
        discarded=_tell_discarded(out, settings, stale, damaged),
    )
    if plan.bytes_pending * SPARE_DISK > plan.bytes_free:
        smaller = "store 16 bits a value (--cache_dtype float16), " if dtype == "float32" else ""
        raise UserError(
            f"{out}: the cache needs {_format_bytes(plan.bytes_pending * SPARE_DISK)} and "
            f"{_format_bytes(plan.bytes_free)} are free: choose another --dump_dir, {smaller}"
            "or train without the cache (--cache false)"
        )
    (out / WHOLE).unlink(missing_ok=True)
    for path in unneeded:
        path.unlink(missing_ok=True)
    content = {
        "key": key,
        "dtype": dtype,
        "dim": dim,
        "run": 1 + max((shard.order[0] for shard in shards), default=0),
        "utterances": {each.id: each.audio for each in inputs},
        "kept": {id: astuple(stamp) for id, stamp in kept.items()},
        "batches": [[astuple(each) for each in batch] for batch in batches],
    }
    write_text(out / PLAN, [json.dumps(content)])
    return plan


def _read_plan(out: Path) -> dict:
    try:
        return json.loads((out / PLAN).read_bytes())
    except FileNotFoundError:
        raise UserError(f"{out / PLAN} does not exist: the cache has to be planned first: {REMEDY}") from None


def read_batches(out: Path, nj: int, job: int) -> list[list[CacheInput]]:
    """The batches that job ``job`` (from 1) of ``nj`` has to compute: every ``nj``-th, longest first.

    Raises UserError if there is no plan or no such job.
    """
    if nj < 1 or not 1 <= job <= nj:
        raise UserError(f"--job {job} of --nj {nj}: the job must lie between 1 and the number of jobs")
    return [[CacheInput(*each) for each in batch] for batch in _read_plan(out)["batches"][job - 1 :: nj]]


class ShardWriter:
    """Collects the features that one job computes and writes them as shards of about ``shard_bytes``.

    Shards are written atomically. Features that were added before an exception are written too, so that a run
    that stops at a faulty utterance can be resumed there.
    """

    def __init__(self, out: Path, job: int, shard_bytes: int = SHARD_BYTES) -> None:
        import torch

        plan = _read_plan(out)
        self._settings = Settings(plan["key"], plan["dtype"], plan["dim"])
        self._dtype: torch.dtype = getattr(torch, plan["dtype"])
        self._out, self._run, self._job, self._shard_bytes = out, plan["run"], job, shard_bytes
        self._number = 1
        self._clear()

    def _clear(self) -> None:
        self._tensors: dict[str, torch.Tensor] = {}
        self._audio: dict[str, AudioStamp] = {}
        self._bytes = 0

    def __enter__(self) -> "ShardWriter":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._tensors:
            self._flush()

    def add(self, id: str, features: "torch.Tensor", audio: AudioStamp) -> None:
        """Store ``features`` (T, D), of any float type and on any device, in the cache's dtype.

        ``audio`` has to be stamped before the audio is read, so that a change in between is noticed.

        Raises UserError for values that are not finite or too large for the dtype, and if a shard cannot be
        written.
        """
        import torch

        if features.ndim != 2 or not len(features) or features.shape[1] != self._settings.dim:
            raise ValueError(f"{id}: features {tuple(features.shape)}, not (T, {self._settings.dim})")
        peak = features.detach().abs().max().item()
        if not np.isfinite(peak):
            bad = int((~features.isfinite()).sum())
            raise UserError(
                f"id {id}: {count(bad, 'feature value')} not finite (NaN or infinity): listen to its audio; "
                "if it is sound, the upstream cannot be run in this precision"
            )
        if peak > torch.finfo(self._dtype).max:
            dtype = self._settings.dtype
            raise UserError(
                f"id {id}: feature values up to {peak:.6g} where {dtype} ends at "
                f"{torch.finfo(self._dtype).max:.6g}: use --cache_dtype {WIDER_DTYPE[dtype]}"
            )
        # A copy, because a view would keep the whole batch in memory.
        tensor = features.detach().to("cpu", self._dtype, copy=True).contiguous()
        self._tensors[id], self._audio[id] = tensor, audio
        self._bytes += tensor.nbytes
        if self._bytes >= self._shard_bytes or len(self._tensors) >= UTTERANCES_PER_SHARD:
            self._flush()

    def _flush(self) -> None:
        def path() -> Path:
            return self._out / f"features.{self._run}.{self._job}.{self._number}.safetensors"

        while path().exists():  # from the same job, which somebody restarted by hand
            self._number += 1
        metadata = {
            "key": self._settings.key,
            "dtype": self._settings.dtype,
            "dim": self._settings.dim,
            "audio": {id: astuple(stamp) for id, stamp in self._audio.items()},
            "crc32": {id: _checksum(tensor) for id, tensor in self._tensors.items()},
        }
        from safetensors.torch import save

        # Not save_file, which makes files that only their owner can read.
        content = save(self._tensors, {METADATA: json.dumps(metadata)})
        try:
            write_atomically(path(), lambda temporary: temporary.write_bytes(content))
        except OSError as error:
            raise UserError(
                f"{path()} cannot be written: {error.strerror}: make room on the disk and {REMEDY}"
            ) from None
        self._clear()


@dataclass
class CacheSummary:
    """What a complete cache holds; prints as one line."""

    name: str
    utterances: int
    frames: int
    shards: int
    bytes_stored: int

    def __str__(self) -> str:
        return (
            f"{self.name}: cached {count(self.utterances, 'utterance')}, {count(self.frames, 'frame')}: "
            f"{_format_bytes(self.bytes_stored)} in {count(self.shards, 'shard')}"
        )


def merge_cache(out: Path) -> CacheSummary:
    """Check that every utterance of the plan is stored, write the lists and complete the cache.

    Writes ``feats.scp`` (``id path-of-shard``, paths as ``out`` was given), ``utt2num_frames``, ``utt2audio``
    (``id size mtime_ns digest path``) and finally ``cache.json``. If an utterance is stored more than once,
    the latest counts; useless shards are deleted.

    Raises UserError if there is no plan, or if the jobs left out utterances, naming some of them.
    """
    plan = _read_plan(out)
    settings = Settings(plan["key"], plan["dtype"], plan["dim"])
    shards, damaged = _scan(out)
    source: dict[str, Shard] = {}
    for shard in shards:
        if shard.settings == settings:
            # What the plan lists must come from this run; older features belong to other audio.
            source |= {
                id: shard
                for id in shard.audio
                if id in plan["utterances"] and (id in plan["kept"] or shard.order[0] == plan["run"])
            }
    missing = [id for id in plan["utterances"] if id not in source]
    if missing:
        raise UserError(
            f"{out}: {count(len(missing), 'utterance')} of {len(plan['utterances'])} without features: "
            f"{name_some(missing)}: a job failed or has not run: see the logs of the jobs, then {REMEDY}"
        )
    stamps = {id: shard.audio[id] for id, shard in source.items()}
    stamps |= {id: AudioStamp(*stamp) for id, stamp in plan["kept"].items()}
    used = {path: path.stat().st_size for path in {shard.path for shard in source.values()}}
    write_list(out / "feats.scp", {id: shard.path for id, shard in source.items()})
    write_list(out / "utt2num_frames", {id: shard.frames[id] for id, shard in source.items()})
    write_list(
        out / "utt2audio",
        {id: " ".join(map(str, (*astuple(stamps[id]), path))) for id, path in plan["utterances"].items()},
    )
    for path in {shard.path for shard in shards} - used.keys() | set(damaged):
        path.unlink()
    summary = CacheSummary(
        name=out.name,
        utterances=len(source),
        frames=sum(shard.frames[id] for id, shard in source.items()),
        shards=len(used),
        bytes_stored=sum(used.values()),
    )
    content = {
        "key": settings.key,
        "dtype": settings.dtype,
        "dim": settings.dim,
        "utterances": summary.utterances,
        "frames": summary.frames,
        "shards": {path.name: size for path, size in sorted(used.items())},
    }
    write_text(out / WHOLE, [json.dumps(content, indent=2)])
    (out / PLAN).unlink()
    return summary


def _read_stamps(path: Path, problems: list[str]) -> dict[str, AudioStamp]:
    stamps = {}
    for id, entry in read_list(path, problems).items():
        match entry.value.split(" ", 3):
            case [size, mtime_ns, digest, _] if size.isdecimal() and mtime_ns.isdecimal():
                stamps[id] = AudioStamp(int(size), int(mtime_ns), digest)
            case _:
                problems.append(f"{path}:{entry.line}: id {id} has no stamp of its audio: {REMEDY}")
    return stamps


def _find_lost_shards(feats_scp: Path, sizes: dict[str, int], problems: list[str]) -> None:
    for shard in sorted({entry.value for entry in read_list(feats_scp, problems).values()}):
        try:
            size = os.stat(shard).st_size
        except OSError as error:
            problems.append(f"{shard}, named in {feats_scp}, cannot be read: {error.strerror}: {REMEDY}")
            continue
        if size != (written := sizes.get(Path(shard).name, 0)):
            problems.append(f"{shard} has {size} bytes where {written} were written: {REMEDY}")


def check_cache(out: Path, key: dict[str, str], dtype: str, wav_scp: Path) -> None:
    """Refuse ``out`` unless it is complete and holds the features of ``wav_scp`` for ``key``, and no others.

    Audio with the same size and modification time counts as the same; otherwise its content is compared.
    Only the sizes of shards are checked.

    Raises UserError with every reason and the remedy: no cache or an unfinished one, other settings (each
    with its old and new value), other utterances, changed audio, missing or truncated shards.
    """
    try:
        content = json.loads((out / WHOLE).read_bytes())
    except FileNotFoundError:
        state = "is unfinished" if (out / PLAN).exists() else "does not exist"
        raise UserError(f"the cache {out} {state}: {REMEDY}") from None
    old = Settings(content["key"], content["dtype"], content["dim"])
    # The number of channels follows from the key.
    differences = Settings(key, dtype, old.dim).differences_from(old)
    if differences:
        raise UserError(f"the cache {out} was made for something else: {'; '.join(differences)}: {REMEDY}")

    problems: list[str] = []
    audio = read_list(wav_scp, problems)
    stamps = _read_stamps(out / "utt2audio", problems)
    if not problems:
        for only, what in (
            (audio.keys() - stamps.keys(), f"of {wav_scp} not in the cache {out}"),
            (stamps.keys() - audio.keys(), f"in the cache {out} but not in {wav_scp}"),
        ):
            if only:
                ids = name_some(sorted(only, key=byte_order))
                problems.append(f"{count(len(only), 'id')} {what}: {ids}: {REMEDY}")
    _find_lost_shards(out / "feats.scp", content["shards"], problems)
    shared = [id for id in audio if id in stamps]
    changed = [
        f"{id} ({audio[id].value})"
        for id in tqdm(shared, desc=f"{out.name}: compare audio", unit="utt", delay=1.0)
        if not _stamp_if_unchanged(audio[id].value, stamps[id])
    ]
    if changed:
        problems.append(
            f"audio of {count(len(changed), 'utterance')} changed or gone since its features went into "
            f"{out}: {name_some(changed)}: {REMEDY}"
        )
    raise_collected(problems, out)


class FeatureReader(Mapping[str, np.ndarray]):
    """A loader for ESPnet's data sets: ``reader[id]`` is the float32 array (T, D) that ``feats.scp`` names.

    Each process opens and memory-maps shards by itself when they are first needed, so a reader can be
    pickled, and used on both sides of a fork. The arrays are copies that belong to the caller. Paths are
    relative to the working directory, as in every Kaldi list.

    Raises UserError if ``feats.scp`` is faulty, or if a shard cannot be read or its features are not those
    that were written (each process checks once); KeyError for unknown ids.
    """

    def __init__(self, feats_scp: Path | str) -> None:
        problems: list[str] = []
        entries = read_list(Path(feats_scp), problems)
        raise_collected(problems, feats_scp)
        self._feats_scp = str(feats_scp)
        names: dict[str, str] = {}  # one string object for all the utterances of a shard
        self._paths = {id: names.setdefault(entry.value, entry.value) for id, entry in entries.items()}
        self._shards: dict[str, safe_open] = {}
        self._unchecked: dict[str, int] = {}  # checksums
        self._process = os.getpid()

    def __getstate__(self) -> dict:
        return {**self.__dict__, "_shards": {}, "_unchecked": {}}

    def _open(self, path: str) -> safe_open:
        if self._process != os.getpid():
            self._process, self._shards, self._unchecked = os.getpid(), {}, {}
        if path not in self._shards:
            shard = safe_open(path, framework="pt")
            stored = json.loads(shard.metadata()[METADATA])["crc32"]
            self._unchecked |= {id: stored[id] for id in shard.keys() if self._paths.get(id) == path}
            self._shards[path] = shard
        return self._shards[path]

    def __getitem__(self, id: str) -> np.ndarray:
        import torch

        path = self._paths[id]
        try:
            features = self._open(path).get_tensor(id)
            if id in self._unchecked and _checksum(features) != self._unchecked[id]:
                raise UserError(
                    f"{self._feats_scp}: the features of id {id} in {path!r} are not those that were "
                    f"written: delete that file, look at the disk, and {REMEDY}"
                )
            self._unchecked.pop(id, None)
            return features.to(torch.float32, copy=True).numpy()
        except (OSError, SafetensorError, KeyError) as error:  # KeyError: a header of another version
            raise UserError(
                f"{self._feats_scp}: the features of id {id} cannot be read from {path!r} ({error}): {REMEDY}"
            ) from None

    def __contains__(self, id: object) -> bool:
        return id in self._paths

    def __iter__(self) -> Iterator[str]:
        return iter(self._paths)

    def __len__(self) -> int:
        return len(self._paths)
