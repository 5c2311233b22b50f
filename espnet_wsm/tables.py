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
    widths = [max(3, *map(len, column)) if padded else 0 for column in zip(*rows, strict=True)]
    lines = []
    for row in rows:
        padding = enumerate(zip(row, widths, strict=True))
        cells = (c.ljust(w) if i < num_left else c.rjust(w) for i, (c, w) in padding)
        lines.append(f"| {' | '.join(cells)} |")
    rule = ["-" * max(3, w) if i < num_left else "-" * max(2, w - 1) + ":" for i, w in enumerate(widths)]
    lines.insert(1, f"| {' | '.join(rule)} |" if padded else f"|{'|'.join(rule)}|")
    return "\n".join(lines)
