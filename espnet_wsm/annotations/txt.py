"""Plain text: one line a segment, in order of time; no times, so it is only written."""

from pathlib import Path

from espnet_wsm.annotations.model import Recording, list_spoken_segments
from espnet_wsm.annotations.text_files import join_lines, write_new


def format_txt(recording: Recording) -> str:
    """The text; ``speaker: `` begins each line where more than one speaks. Empty texts are left out."""
    spoken = [
        (tier.speaker_of(segment), text)
        for tier, segment in list_spoken_segments(recording)
        if (text := join_lines(segment.text).strip())
    ]
    named = len({speaker for speaker, _ in spoken}) > 1
    return "".join(f"{speaker}: {text}\n" if named and speaker else f"{text}\n" for speaker, text in spoken)


def write(recording: Recording, path: Path, *, overwrite: bool = False) -> None:
    """Write :func:`format_txt` as UTF-8, as `text_files.write_new` does."""
    write_new(path, format_txt(recording), overwrite)
