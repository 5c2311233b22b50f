"""What would become of a source: speakers, minutes, characters, what is left out. Nothing is written."""

import unicodedata
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from espnet_wsm.data.audio.recordings import read_header
from espnet_wsm.data.corpora.listing import Listing
from espnet_wsm.data.corpora.preparation import prepare_listing
from espnet_wsm.data.kaldi.lists import count
from espnet_wsm.data.text.rules import TextRules, split_graphemes
from espnet_wsm.errors import UserError

RARE = 5  # times that a character has to be there to be learnt
MOST_SHOWN = 12  # speakers, reasons, characters
LONGEST = 20.0  # seconds; longer utterances are left out by stage 2, unless --max_wav_duration says more


@dataclass(frozen=True)
class _Said:
    """An utterance; ``seconds`` is None if its audio cannot be read."""

    text: str
    speaker: str
    seconds: float | None


def preview(listing: Listing, rules: TextRules) -> tuple[list[str], str]:
    """Lines about a source; and what would stop its preparation, empty if nothing would.

    Args:
        listing: of the source, with nothing written.
        rules: how texts are spelt, for the characters.
    """
    lines, fault = list(listing.said), ""
    if listing.seconds:
        used, dropped = _take_embedded(listing)
    else:
        try:
            prepared = prepare_listing(listing)
            dropped = prepared.dropped
            used = _measure([each for utterances in prepared.splits.values() for each in utterances])
            sizes = ", ".join(f"{name} {len(utterances)}" for name, utterances in prepared.splits.items())
            lines.append(f"splits: {sizes} ({prepared.how})")
        except UserError as error:
            fault, dropped = str(error), listing.dropped
            used = [_Said(row.text, row.speaker, row.end and row.end - row.start) for row in listing.rows]
    lines += [
        *_tell_times(used),
        *_tell_speakers(used),
        *_tell_characters(used, rules),
        *_tell_dropped(dropped),
    ]
    return lines, fault


def _take_embedded(listing: Listing) -> tuple[list[_Said], list[tuple[str, str]]]:
    """Rows whose audio is within the source."""
    empty = [(row.place, "no text") for row in listing.rows if not row.text]
    used = [_Said(row.text, row.speaker, listing.seconds.get(row.place)) for row in listing.rows if row.text]
    return used, [*listing.dropped, *empty]


def _measure(utterances: Sequence) -> list[_Said]:
    lengths: dict[str, float | None] = {}
    measured = []
    for each in utterances:
        end, audio = each.end, str(each.audio)
        if end is None:
            if audio not in lengths:
                lengths[audio] = _read_length(audio)
            end = lengths[audio]
        measured.append(_Said(each.text, each.speaker, None if end is None else max(0.0, end - each.start)))
    return measured


def _read_length(audio: str) -> float | None:
    try:
        return read_header(audio).seconds
    except UserError:  # stage 1 says what is wrong with it
        return None


def _tell_times(used: Sequence[_Said]) -> list[str]:
    seconds = np.array([each.seconds for each in used if each.seconds is not None])
    lines = [f"utterances: {len(used)}, {seconds.sum() / 60:.1f} minutes"]
    if len(seconds):
        low, middle, high = np.quantile(seconds, (0.05, 0.5, 0.95))
        lines[0] += f"; seconds: {low:.1f} to {high:.1f} (5 to 95 %), median {middle:.1f}"
    if unknown := len(used) - len(seconds):
        lines.append(f"audio that cannot be read: {count(unknown, 'utterance')}; stage 1 says why")
    if long := int((seconds > LONGEST).sum()):
        lines.append(
            f"longer than {LONGEST:g} s: {count(long, 'utterance')}, which training leaves out, unless "
            "--split_above can split them or --max_wav_duration of run.sh is larger"
        )
    return lines


def _tell_speakers(used: Sequence[_Said]) -> list[str]:
    spoken: dict[str, list[float]] = defaultdict(list)
    for each in used:
        spoken[each.speaker].append(each.seconds or 0.0)
    names = sorted(spoken, key=lambda name: (-sum(spoken[name]), name))
    if not names or names == [""]:
        return ["speakers: not known"]
    shown = [f"{name or 'unknown'} {sum(spoken[name]) / 60:.1f} min" for name in names[:MOST_SHOWN]]
    return [f"speakers: {len(names)}: {', '.join(shown)}{', ...' if len(names) > MOST_SHOWN else ''}"]


def _tell_characters(used: Sequence[_Said], rules: TextRules) -> list[str]:
    texts = [rules.apply(each.text) for each in used]
    counts = Counter(char for text in texts for char in split_graphemes(text) if not char.isspace())
    lines = [f"characters: {counts.total()}, {count(len(counts), 'kind')}"]
    rare = sorted((number, char) for char, number in counts.items() if number < RARE)
    if rare:
        shown = [f"{char} {_name_code(char)} {number}" for number, char in rare[:MOST_SHOWN]]
        more = ", ..." if len(rare) > MOST_SHOWN else ""
        lines.append(f"rare characters, fewer than {RARE} times: {len(rare)}: {', '.join(shown)}{more}")
    if empty := sum(not text for text in texts):
        lines.append(f"the text configuration leaves nothing of {count(empty, 'transcript')}")
    return lines


def _name_code(char: str) -> str:
    names = [f"U+{ord(one):04X}" for one in char]
    return f"({names[0]} {unicodedata.name(char, '-')})" if len(names) == 1 else f"({' '.join(names)})"


def _tell_dropped(dropped: Sequence[tuple[str, str]]) -> list[str]:
    reasons = Counter(reason for _, reason in dropped)
    first = {reason: place for place, reason in reversed(dropped)}
    return [
        f"left out: {number} {reason}, the first {first[reason]}"
        for reason, number in reasons.most_common(MOST_SHOWN)
    ]
