"""A fixed subset of a training set with a given number of minutes of speech."""

import re
from dataclasses import dataclass
from pathlib import Path

from espnet_wsm.data.dump.lists import JOINED, read_dump, read_joined, write_training_lists
from espnet_wsm.data.kaldi.lists import write_list
from espnet_wsm.errors import UserError
from espnet_wsm.files import digest_text
from espnet_wsm.frames import SAMPLE_RATE

COPY_PREFIX = re.compile(r"^sp[0-9.]+-")  # of the ids of copies that --speed_perturb makes


@dataclass(frozen=True)
class SubsetSummary:
    """Summary of a subset; prints as one line."""

    name: str
    utterances: int
    total: int
    minutes: float

    def __str__(self) -> str:
        return f"{self.name}: {self.utterances} of {self.total} utterances, {self.minutes:.2f} minutes"


def subset_dump(directory: Path, minutes: float, out: Path) -> SubsetSummary:
    """Write the lists of ``minutes`` of ``directory`` (``dump/raw/train``) to ``out``.

    Utterances are taken in the order of the SHA-256 digests of their ids until the next one would exceed
    ``minutes``. So the subset depends only on ids and lengths, and a larger subset contains a smaller one.
    Copies at other speeds are taken with their utterance and do not count. Nor do joined utterances, which
    are taken where all their parts are.

    Raises:
        UserError: ``minutes`` is not positive, or more than there are; the lists are faulty; the first
            utterance is too long.
    """
    if not minutes > 0:
        raise UserError(f"--minutes {minutes:g}: a positive number is needed")
    utterances, num_samples = read_dump(directory, need_text=True)
    joined = read_joined(directory)
    copied = (directory.parent / "org" / directory.name / "speed_perturb").exists()
    original = {each.id: COPY_PREFIX.sub("", each.id) if copied else each.id for each in utterances}
    samples: dict[str, int] = {}  # of an original, or of its first copy if the original is not there
    for each in utterances:
        if each.id in joined:
            continue
        if each.id == original[each.id] or original[each.id] not in samples:
            samples[original[each.id]] = num_samples[each.id]
    minute = 60 * SAMPLE_RATE  # samples
    limit, taken, used = minutes * minute, set(), 0
    for name in sorted(samples, key=digest_text):
        if used + samples[name] > limit:
            break
        taken.add(name)
        used += samples[name]
    else:
        raise UserError(
            f"{directory} holds {used / minute:.1f} minutes, not more than --minutes {minutes:g}; take all"
        )
    if not taken:
        raise UserError(f"{directory}: its first utterance is longer than --minutes {minutes:g}: take more")
    kept = [
        each
        for each in utterances
        if all(original.get(part, part) in taken for part in joined.get(each.id, [each.id]))
    ]
    if joined:
        write_list(out / JOINED, {each.id: " ".join(joined[each.id]) for each in kept if each.id in joined})
    write_training_lists(out, kept, num_samples)
    return SubsetSummary(out.name, len(kept), len(utterances), used / minute)
