"""Split a corpus deterministically into train, dev and test, and log what was left out and why."""

import hashlib
import urllib.parse
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from espnet_wsm.data.kaldi.directory import Utterance, write_data_dir
from espnet_wsm.errors import UserError
from espnet_wsm.files import write_text

SPLITS = ("train", "dev", "test")


@dataclass(frozen=True)
class Candidate:
    """A recording of a corpus, or a text without one, with the corpus's own ``key`` for it.

    ``reason`` says why it is left out; if it is empty, the candidate is used and has text, speaker and audio.
    """

    key: str
    text: str = ""
    seconds: float = 0.0
    reason: str = ""
    speaker: str = ""
    audio: Path | str = ""

    @property
    def utterance_id(self) -> str:
        """``SPEAKER-folder.file`` for the key ``folder/file``; distinct keys give distinct ids."""
        key = urllib.parse.quote(self.key, safe="/").replace(".", "%2E").replace("/", ".")
        return f"{self.speaker}-{key}"


def split_by_digest(keys: Iterable[str]) -> dict[str, str]:
    """The split of each key: test and dev get a tenth of ``keys`` each, train gets the rest.

    Equal keys stay together. The splits are filled in the order of the keys' SHA-256 digests, so neither the
    order of ``keys`` nor the machine matters.
    """
    counts = Counter(keys)
    split, done = {}, 0
    for key in sorted(counts, key=lambda key: hashlib.sha256(key.encode()).digest()):
        share = done / counts.total()
        split[key] = "test" if share < 0.1 else "dev" if share < 0.2 else "train"
        done += counts[key]
    return split


def group_by_split(
    candidates: Iterable[Candidate], split_of: Callable[[Candidate], str], source: Path
) -> dict[str, list[Candidate]]:
    """The candidates that are used, by split. Raises UserError, naming ``source``, if a split gets none."""
    splits: dict[str, list[Candidate]] = {name: [] for name in SPLITS}
    for candidate in candidates:
        if not candidate.reason:
            splits[split_of(candidate)].append(candidate)
    if not all(splits.values()):
        used = sum(map(len, splits.values()))
        raise UserError(f"{source}: {used} usable recordings are too few to split; unpack the package again")
    return splits


def require_disjoint_texts(splits: Mapping[str, Sequence[Candidate]]) -> None:
    """Raise RuntimeError if one text is in two splits."""
    home: dict[str, str] = {}
    for name, candidates in splits.items():
        for candidate in candidates:
            if home.setdefault(candidate.text, name) != name:
                raise RuntimeError(f"{candidate.text!r} is in {home[candidate.text]} and in {name}")


def write_splits(
    out: Path, label: str, splits: Mapping[str, Sequence[Candidate]], candidates: Iterable[Candidate]
) -> str:
    """Write ``out/{train,dev,test}`` and ``out/dropped.txt``; returns a summary, one line per split.

    ``candidates`` includes those that are left out, which are listed with their reason.
    """
    require_disjoint_texts(splits)
    dropped = sorted((each.key, each.reason) for each in candidates if each.reason)
    write_text(out / "dropped.txt", (f"{key} {reason}" for key, reason in dropped))
    lines = []
    for name, used in splits.items():
        write_data_dir(
            out / name, (Utterance(each.utterance_id, each.audio, each.text, each.speaker) for each in used)
        )
        minutes = sum(each.seconds for each in used) / 60
        words = sum(len(each.text.split()) for each in used)
        lines.append(f"{label} {name}: {len(used)} utterances, {minutes:.1f} minutes, {words} words")
    reasons = Counter(reason for _, reason in dropped).most_common()
    summary = ", ".join(f"{count} {reason}" for reason, count in reasons)
    lines.append(
        f"{label}: {sum(map(len, splits.values()))} used, {len(dropped)} dropped"
        f"{f' ({summary})' if summary else ''}, see {out / 'dropped.txt'}"
    )
    return "\n".join(lines)
