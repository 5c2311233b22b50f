"""Tables in Markdown."""

from collections.abc import Iterable, Sequence


def render_table(
    header: Sequence[str], rows: Iterable[Sequence[str]], num_left: int | None = None, padded: bool = True
) -> str:
    """A Markdown table; cells are Markdown.

    Args:
        header: titles of the columns.
        rows: as many cells each.
        num_left: the first columns, aligned to the left; None for all of them.
        padded: whether columns are aligned in the text too, for a terminal; otherwise one long cell does not
            widen its column.
    """
    rows = [header, *rows]
    num_left = len(header) if num_left is None else num_left
    widths = [max(3, *map(len, column)) if padded else 3 for column in zip(*rows, strict=True)]
    rule = ["-" * width if i < num_left else "-" * (width - 1) + ":" for i, width in enumerate(widths)]
    lines = []
    for row in rows:
        padding = zip(row, widths if padded else [0] * len(widths), strict=True)
        cells = (c.ljust(w) if i < num_left else c.rjust(w) for i, (c, w) in enumerate(padding))
        lines.append(f"| {' | '.join(cells)} |")
    lines.insert(1, f"| {' | '.join(rule)} |" if padded else f"|{'|'.join(rule)}|")
    return "\n".join(lines)
