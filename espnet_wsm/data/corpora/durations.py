"""Compare the durations that a corpus gives, without times of its utterances, with those of its audio.

NeMo's manifests have the duration of each file, rounded in some way, so that files stay whole. Where a file
is longer, only what the corpus names is the utterance; where it is shorter, another file was meant.
"""

import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from tqdm import tqdm

from espnet_wsm.data.audio.recordings import LARGEST_OVERSHOOT, read_header
from espnet_wsm.data.corpora.tables import Row
from espnet_wsm.data.kaldi.lists import count, name_some
from espnet_wsm.errors import UserError

SLACK = 0.1  # seconds by which a file may be longer: rounding, or the padding of mp3
WHOLE = 1.0  # if all durations are whole seconds


def apply_durations(
    kept: Sequence[tuple[Row, Path]],
) -> tuple[list[tuple[Row, Path]], list[tuple[Row, float]]]:
    """Rows with their audio, cut to their durations where these are shorter, which a warning says.

    Audio that cannot be opened is left to validation.

    Returns:
        The rows that can be used; and those whose audio is clearly shorter than they say, with its seconds.
    """
    seconds = {}
    given = [(row, audio) for row, audio in kept if row.duration is not None]
    for row, audio in tqdm(given, desc="measure", unit="file", disable=None, leave=False):
        try:
            seconds[row] = read_header(audio).seconds
        except UserError:
            continue
    excess = {row: seconds[row] - row.duration for row in seconds}
    rounded = all(row.duration.is_integer() and abs(excess[row]) < WHOLE for row in excess)
    longer = {row for row in excess if excess[row] > SLACK and not rounded}
    shorter = {row for row in excess if -excess[row] > LARGEST_OVERSHOOT and not rounded}
    if longer:
        some = (f"{row.place} ({row.duration:g} of {seconds[row]:g} s)" for row, _ in kept if row in longer)
        print(
            f"warning: {count(len(longer), 'row')} with a duration and longer audio, of which only the "
            f"beginning is taken: {name_some(some)}",
            file=sys.stderr,
        )
    usable = [
        (replace(row, end=row.duration) if row in longer else row, audio)
        for row, audio in kept
        if row not in shorter
    ]
    return usable, [(row, seconds[row]) for row, _ in kept if row in shorter]
