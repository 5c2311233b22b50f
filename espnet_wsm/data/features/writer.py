"""Write the features that jobs compute, and complete the cache from the shards of all jobs."""

import json
from dataclasses import astuple, dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

import numpy as np

from espnet_wsm.data.features.key import PLAN, REMEDY, WHOLE, AudioStamp, Settings, format_bytes
from espnet_wsm.data.features.plan import read_plan
from espnet_wsm.data.features.shards import METADATA, Shard, checksum, scan_shards
from espnet_wsm.data.kaldi.lists import count, name_some, write_list
from espnet_wsm.errors import UserError
from espnet_wsm.files import write_atomically, write_text

if TYPE_CHECKING:
    # Tensors rather than arrays, because numpy knows no bfloat16. Imported where features are written or
    # read: planning, closing and checking a cache start without it.
    import torch

WIDER_DTYPE = {"float16": "bfloat16", "bfloat16": "float32"}  # the next type with a larger range
SHARD_BYTES = 128 * 2**20
UTTERANCES_PER_SHARD = 10_000  # the header has some 200 bytes for each; safetensors' limit is 100 MB


class ShardWriter:
    """Collects the features that one job computes and writes them as shards of about ``shard_bytes``.

    Shards are written atomically. Features that were added before an exception are written too, so that a run
    that stops at a faulty utterance can be resumed there.
    """

    def __init__(self, out: Path, job: int, shard_bytes: int = SHARD_BYTES) -> None:
        import torch

        plan = read_plan(out)
        self._settings = Settings.of(plan)
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
            **vars(self._settings),
            "audio": {id: astuple(stamp) for id, stamp in self._audio.items()},
            "crc32": {id: checksum(tensor) for id, tensor in self._tensors.items()},
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
            f"{format_bytes(self.bytes_stored)} in {count(self.shards, 'shard')}"
        )


def merge_cache(out: Path) -> CacheSummary:
    """Check that every utterance of the plan is stored, write the lists and complete the cache.

    Writes ``feats.scp`` (``id path-of-shard``, paths as ``out`` was given), ``utt2num_frames``, ``utt2audio``
    (``id size mtime_ns digest path``) and finally ``cache.json``. If an utterance is stored more than once,
    the latest counts; useless shards are deleted.

    Raises UserError if there is no plan, or if the jobs left out utterances, naming some of them.
    """
    plan = read_plan(out)
    settings = Settings.of(plan)
    shards, damaged = scan_shards(out)
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
        **vars(settings),
        "utterances": summary.utterances,
        "frames": summary.frames,
        "shards": {path.name: size for path, size in sorted(used.items())},
    }
    write_text(out / WHOLE, [json.dumps(content, indent=2)])
    (out / PLAN).unlink()
    return summary
