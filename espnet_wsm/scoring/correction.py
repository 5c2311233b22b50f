"""What correcting a decoded text takes: words to touch, and minutes for each minute of audio."""

import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from espnet_wsm.data.kaldi.lists import count
from espnet_wsm.frames import SAMPLE_RATE
from espnet_wsm.scoring.significance import bootstrap_error_rate

# A stretch of errors, with no right word inside.
_PLACE = re.compile("[^C]+")


@dataclass(frozen=True)
class Correction:
    """What correcting a set takes.

    A WER says how many edits there are, not what they cost: two words too many in a row are marked and
    deleted at once, and a word that was heard as two is typed once. So words are counted as somebody
    corrects them, place by place. A place is a stretch of errors of the Python scorer's alignment with no
    right word inside; there the words of the reference that are wrong or missing have to be typed, S + D,
    and what is too many goes with them. A place where nothing has to be typed, as words are only too many,
    counts as one word.

    Unlike the WER, this cannot be much above 100 %, which is typing everything.

    Args:
        words: of the reference.
        touched: words to touch.
        places: stretches of errors.
        interval: 95 % of ``100 * touched / words``, by a bootstrap over utterances; None for one utterance.
        seconds: of audio; None if they were not asked for.
        seconds_each: that a touched word takes, as the user says; None = not said.
        minutes_interval: 95 % of ``minutes``.
    """

    words: int
    touched: int
    places: int
    interval: tuple[float, float] | None = None
    seconds: float | None = None
    seconds_each: float | None = None
    minutes_interval: tuple[float, float] | None = None

    @property
    def rate(self) -> float:
        """Words to touch in percent of the reference words."""
        return 100 * self.touched / self.words

    @property
    def minutes(self) -> float | None:
        """Minutes of correction for each minute of audio, without listening; None if it was not asked for."""
        if self.seconds is None or self.seconds_each is None:
            return None
        return self.touched * self.seconds_each / self.seconds


def count_touched(steps: str) -> int:
    """Words to touch in an alignment of letters, C right, S substitution, D deletion, I insertion."""
    return sum(max(1, len(place) - place.count("I")) for place in _PLACE.findall(steps))


def measure_correction(
    steps: Sequence[str], samples: Sequence[int] | None = None, seconds_each: float | None = None
) -> Correction:
    """What correcting utterances takes.

    Args:
        steps: of the alignment of each, from `python_scorer.list_steps`.
        samples: length of each in samples of 16 kHz; None = not known.
        seconds_each: that a touched word takes, above 0; needs ``samples``.
    """
    touched = [count_touched(one) for one in steps]
    words = [len(one) - one.count("I") for one in steps]
    several = len(steps) > 1 and all(words)
    correction = Correction(
        words=sum(words),
        touched=sum(touched),
        places=sum(len(_PLACE.findall(one)) for one in steps),
        interval=_resample(touched, words, 1) if several else None,
    )
    if samples is None or seconds_each is None:
        return correction
    to_minutes = seconds_each * SAMPLE_RATE / 100  # from percent of samples
    spread = _resample(touched, samples, to_minutes) if several else None
    more = {"seconds": sum(samples) / SAMPLE_RATE, "seconds_each": seconds_each, "minutes_interval": spread}
    return Correction(**asdict(correction) | more)


def _resample(touched: Sequence[int], of: Sequence[int], scale: float) -> tuple[float, float]:
    found = bootstrap_error_rate(touched, of)
    return round(found.low * scale, 2), round(found.high * scale, 2)


def read_entry(entry: dict[str, Any]) -> Correction:
    """What ``asdict`` made of it; TypeError if it did not."""
    intervals = {name: entry[name] and tuple(entry[name]) for name in ("interval", "minutes_interval")}
    return Correction(**entry | intervals)


def describe_correction(correction: Correction) -> str:
    """One line, e.g. ``98 of 398 words to touch (24.6 %, 95 % interval 19.1 to 32.0), in 85 places``."""
    share = f"{correction.rate:.1f} %"
    if correction.interval:
        share += ", 95 % interval {:.1f} to {:.1f}".format(*correction.interval)
    places = count(correction.places, "place")
    line = f"{correction.touched} of {correction.words} words to touch ({share}), in {places}"
    if correction.minutes is None:
        return line
    minutes = f"{correction.minutes:.2f}"
    if correction.minutes_interval:
        minutes += " ({:.2f} to {:.2f})".format(*correction.minutes_interval)
    return (
        f"{line}; at {correction.seconds_each:g} s a word {minutes} minutes of correction a minute of audio"
    )
