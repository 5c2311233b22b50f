"""Split a corpus deterministically into train, dev and test, and log what was left out and why."""

import urllib.parse
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from espnet_wsm.data.kaldi.directory import Utterance, write_data_dir
from espnet_wsm.errors import UserError
from espnet_wsm.files import digest_text, write_text

SPLITS = ("train", "dev", "test")
DROPPED = "dropped.txt"


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
    for key in sorted(counts, key=digest_text):
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


def split_by_text(candidates: Sequence[Candidate], source: Path) -> dict[str, list[Candidate]]:
    """As :func:`group_by_split`, by digests of the texts."""
    home = split_by_digest(each.text for each in candidates if not each.reason)
    return group_by_split(candidates, lambda each: home[each.text], source)


def write_sets(out: Path, sets: Mapping[str, Iterable[Utterance]], dropped: Iterable[tuple[str, str]]) -> str:
    """Write a data directory for each set, and what was dropped and why to ``out/dropped.txt``.

    Returns:
        The number for each reason, the most frequent first: ``3 silence, 1 no text``.
    """
    dropped = list(dropped)
    for name, utterances in sets.items():
        write_data_dir(out / name, utterances)
    write_text(out / DROPPED, (f"{what} {reason}" for what, reason in dropped))
    reasons = Counter(reason for _, reason in dropped).most_common()
    return ", ".join(f"{number} {reason}" for reason, number in reasons)


def write_splits(
    out: Path, label: str, splits: Mapping[str, Sequence[Candidate]], candidates: Iterable[Candidate]
) -> list[str]:
    """Write ``out/{train,dev,test}`` and ``out/dropped.txt``; returns a summary, one line per split.

    ``candidates`` includes those that are left out, which are listed with their reason.
    """
    require_disjoint_texts(splits)
    dropped = sorted((each.key, each.reason) for each in candidates if each.reason)
    sets = {
        name: [Utterance(each.utterance_id, each.audio, each.text, each.speaker) for each in used]
        for name, used in splits.items()
    }
    reasons = write_sets(out, sets, dropped)
    lines = []
    for name, used in splits.items():
        minutes = sum(each.seconds for each in used) / 60
        words = sum(len(each.text.split()) for each in used)
        lines.append(f"{label} {name}: {len(used)} utterances, {minutes:.1f} minutes, {words} words")
    lines.append(
        f"{label}: {sum(map(len, splits.values()))} used, {len(dropped)} dropped"
        f"{f' ({reasons})' if reasons else ''}, see {out / DROPPED}"
    )
    return lines
