"""List the supported families of upstreams, and what is refused and why.

Prints two tables in Markdown.

Example:
  espnet-wsm list_upstreams --update docs/upstreams.md
"""

import argparse
from pathlib import Path

from espnet_wsm.errors import UserError, report_user_errors
from espnet_wsm.tables import render_table

BEGIN, END = "<!-- upstreams: begin -->", "<!-- upstreams: end -->"


def render_tables() -> str:
    """The two tables."""
    from espnet_wsm.upstream.families.registry import FAMILIES, REFUSED

    head = ("family", "upstreams", "a checkpoint is", "tested in small, in its real form", "at true size")
    rows = []
    for family in FAMILIES:
        names = ", ".join(f"`{name}`" for name in family.upstreams)
        if types := getattr(family, "model_types", ()):
            names += f" (`model_type` {', '.join(types)})"
        full_size = ", ".join(family.full_size) or "-"
        rows.append((family.name, names, family.form, "; ".join(family.variants), full_size))
    reasons: dict[str, list[str]] = {}
    for name, reason in REFUSED.items():
        reasons.setdefault(reason, []).append(f"`{name}`" if name != "*" else "all others")
    refused = [(", ".join(names), reason) for reason, names in reasons.items()]
    tables = (head, rows), (("refused", "because"), refused)
    return "\n\n".join(render_table(*table, padded=False) for table in tables)


@report_user_errors
def main(argv: list[str] | None = None) -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--update", type=Path, metavar="FILE", help="write the tables between the two markers in this file"
    )
    args = parser.parse_args(argv)

    tables = render_tables()
    if args.update is None:
        print(tables)
        return
    from espnet_wsm.files import write_text

    text = args.update.read_text(encoding="utf-8")
    if text.count(BEGIN) != 1 or text.count(END) != 1:
        raise UserError(f"{args.update} has to hold the lines {BEGIN} and {END} once each")
    before, rest = text.split(BEGIN)
    _, after = rest.split(END)
    write_text(args.update, f"{before}{BEGIN}\n{tables}\n{END}{after}".rstrip("\n").split("\n"))


if __name__ == "__main__":
    main()
