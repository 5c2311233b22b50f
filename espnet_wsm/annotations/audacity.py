r"""Label tracks of Audacity: ``start TAB end TAB text``, in seconds; point labels have equal times.

Labels of spectral selections have a second line, ``\ TAB low TAB high`` in hertz, which is left out.
"""

from pathlib import Path

from espnet_wsm.annotations.clock import parse_number
from espnet_wsm.annotations.model import Recording, Segment, Tier, list_spoken_segments, sort_spans
from espnet_wsm.annotations.text_files import at, join_lines, read_lines, write_new
from espnet_wsm.errors import UserError


def format_labels(recording: Recording) -> str:
    """The labels of all speakers in order of time; six decimals as in Audacity, texts on one line."""
    return "".join(
        f"{segment.start:.6f}\t{segment.end:.6f}\t{join_lines(segment.text)}\n"
        for _, segment in list_spoken_segments(recording)
    )


def write(recording: Recording, path: Path, *, overwrite: bool = False) -> None:
    """Write :func:`format_labels` as UTF-8, as `text_files.write_new` does."""
    write_new(path, format_labels(recording), overwrite)


def read(path: Path, *, encoding: str | None = None) -> Recording:
    """Read a label track as the tier ``labels``; a comma in a number is a point, as old versions wrote it.

    Raises:
        UserError: the file cannot be read, or a line is no label; the message names file and line.
    """
    segments = []
    for number, line in read_lines(path, encoding):
        if not line or line.startswith("\\\t"):
            continue
        with at(path, f"line {number}"):
            fields = line.split("\t", maxsplit=2)
            if len(fields) < 2:
                raise UserError("there is no tab: a label is start, end and text, separated by tabs")
            start, end = (
                parse_number(field.strip().replace(",", "."), name)
                for field, name in zip(fields[:2], ("start", "end"), strict=True)
            )
            segments.append(Segment(start, end, "".join(fields[2:])))
    return Recording(tiers=(Tier("labels", sort_spans(segments)),))
