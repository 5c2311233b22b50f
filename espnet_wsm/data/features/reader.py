"""Check a cache before it is used, and read its features."""

import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open
from tqdm import tqdm

from espnet_wsm.data.features.key import PLAN, REMEDY, WHOLE, AudioStamp, Settings, stamp_if_unchanged
from espnet_wsm.data.features.shards import METADATA, checksum
from espnet_wsm.data.kaldi.lists import count, name_some, raise_collected, read_list, tell_ids
from espnet_wsm.errors import UserError


def _read_stamps(path: Path, problems: list[str]) -> dict[str, AudioStamp]:
    stamps = {}
    for id, entry in read_list(path, problems).items():
        match entry.value.split(" ", 3):
            case [size, mtime_ns, digest, _] if size.isdecimal() and mtime_ns.isdecimal():
                stamps[id] = AudioStamp(int(size), int(mtime_ns), digest)
            case _:
                problems.append(f"{path}:{entry.line}: id {id} has no stamp of its audio: {REMEDY}")
    return stamps


def read_stamps(out: Path) -> dict[str, AudioStamp]:
    """The audio that the features of a complete cache were made from.

    Raises UserError if the list is faulty.
    """
    problems: list[str] = []
    stamps = _read_stamps(out / "utt2audio", problems)
    raise_collected(problems, out)
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
    old = Settings.of(content)
    # The number of channels follows from the key.
    differences = Settings(key, dtype, old.dim).differences_from(old)
    if differences:
        raise UserError(f"the cache {out} was made for something else: {'; '.join(differences)}: {REMEDY}")

    problems: list[str] = []
    audio = read_list(wav_scp, problems)
    stamps = _read_stamps(out / "utt2audio", problems)
    if not problems:
        problems += tell_ids(
            REMEDY,
            (audio.keys() - stamps.keys(), f"of {wav_scp} not in the cache {out}"),
            (stamps.keys() - audio.keys(), f"in the cache {out} but not in {wav_scp}"),
        )
    _find_lost_shards(out / "feats.scp", content["shards"], problems)
    shared = [id for id in audio if id in stamps]
    changed = [
        f"{id} ({audio[id].value})"
        for id in tqdm(shared, desc=f"{out.name}: compare audio", unit="utt", delay=1.0)
        if not stamp_if_unchanged(audio[id].value, stamps[id])
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
            if id in self._unchecked and checksum(features) != self._unchecked[id]:
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
