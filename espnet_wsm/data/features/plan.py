"""Decide what has to be computed for a cache, and what can be kept of earlier runs."""

import json
import re
import shutil
from collections.abc import Iterable
from dataclasses import astuple, dataclass
from itertools import chain
from pathlib import Path

from tqdm import tqdm

from espnet_wsm.data.dump.batches import check_job, make_batches
from espnet_wsm.data.dump.lists import read_dump
from espnet_wsm.data.features.key import (
    BYTES_PER_VALUE,
    CACHE_DTYPES,
    PLAN,
    REMEDY,
    WHOLE,
    AudioStamp,
    Settings,
    format_bytes,
    stamp_if_unchanged,
)
from espnet_wsm.data.features.shards import Shard, scan_shards
from espnet_wsm.data.kaldi.lists import byte_order, count, name_some
from espnet_wsm.errors import UserError
from espnet_wsm.files import write_text
from espnet_wsm.frames import SAMPLE_RATE, count_encoder_frames

SPARE_DISK = 1.05  # disk space per byte of features, with headers, lists and rounding to blocks


@dataclass(frozen=True)
class CacheInput:
    """One utterance to run through the prefix; ``audio`` is the path in ``wav.scp``."""

    id: str
    audio: str
    num_samples: int


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
            f"cache of layer features {format_bytes(self.bytes_total)} ({self.dtype}, {self.dim} channels), "
            f"{self.pending} to compute; {format_bytes(self.bytes_free)} free"
        )


def _read_inputs(dump: Path) -> list[CacheInput]:
    utterances, num_samples = read_dump(dump)
    if "__metadata__" in num_samples:
        raise UserError(
            f"{dump / 'wav.scp'}: the id __metadata__ is reserved in safetensors files: rename it"
        )
    return [CacheInput(each.id, each.audio, num_samples[each.id]) for each in utterances]


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
    dump: Path,
    out: Path,
    key: dict[str, str],
    dtype: str,
    dim: int,
    batch_seconds: float = 120.0,
) -> CachePlan:
    """Decide what has to be computed for the cache ``out`` of a set (``dump/raw/train``), and write it there
    as ``plan.json``.

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
    inputs = _read_inputs(dump)
    out.mkdir(parents=True, exist_ok=True)
    shards, damaged = scan_shards(out)
    stale = [shard for shard in shards if shard.settings != settings]
    stored = {id: shard for shard in shards if shard.settings == settings for id in shard.audio}
    kept: dict[str, AudioStamp] = {}
    for each in tqdm(inputs, desc=f"{out.name}: compare audio", unit="utt", delay=1.0):
        if each.id in stored and (stamp := stamp_if_unchanged(each.audio, stored[each.id].audio[each.id])):
            kept[each.id] = stamp
    longest_first = sorted(inputs, key=lambda each: (-each.num_samples, byte_order(each.id)))
    batches = [
        batch
        for batch in make_batches(longest_first, lambda each: each.num_samples, batch_seconds * SAMPLE_RATE)
        if any(each.id not in kept for each in batch)
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
            f"{out}: the cache needs {format_bytes(plan.bytes_pending * SPARE_DISK)} and "
            f"{format_bytes(plan.bytes_free)} are free: choose another --dump_dir, {smaller}"
            "or train without the cache (--cache false)"
        )
    (out / WHOLE).unlink(missing_ok=True)
    for path in unneeded:
        path.unlink(missing_ok=True)
    content = {
        **vars(settings),
        "run": 1 + max((shard.order[0] for shard in shards), default=0),
        "utterances": {each.id: each.audio for each in inputs},
        "kept": {id: astuple(stamp) for id, stamp in kept.items()},
        "batches": [[astuple(each) for each in batch] for batch in batches],
    }
    write_text(out / PLAN, [json.dumps(content)])
    return plan


def read_plan(out: Path) -> dict:
    try:
        return json.loads((out / PLAN).read_bytes())
    except FileNotFoundError:
        raise UserError(f"{out / PLAN} does not exist: the cache has to be planned first: {REMEDY}") from None


def read_batches(out: Path, nj: int, job: int) -> list[list[CacheInput]]:
    """The batches that job ``job`` (from 1) of ``nj`` has to compute: every ``nj``-th, longest first.

    Raises UserError if there is no plan or no such job.
    """
    check_job(job, nj)
    return [[CacheInput(*each) for each in batch] for batch in read_plan(out)["batches"][job - 1 :: nj]]
