"""Write the scores of experiments, with what was trained and how, to one Markdown file."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from espnet_wsm.errors import report_user_errors
from espnet_wsm.files import write_text
from espnet_wsm.scoring.collected import collect_experiments, render_rate_tables, render_results


def make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="Markdown file to write, e.g. RESULTS.md")
    parser.add_argument("--title", required=True, help="heading of the file")
    parser.add_argument("--note", help="Markdown below the heading, e.g. what the sets are")
    parser.add_argument(
        "experiments",
        nargs="+",
        metavar="[LABEL=]EXP_DIR",
        help="trained and scored experiment, or a folder with any number of them; LABEL is its name in the "
        "tables, by default <recipe>/<name> for egs/<recipe>/asr1/exp/<name>, else the directory's name",
    )
    return parser


@report_user_errors
def main(argv: Sequence[str] | None = None) -> None:
    """Collect ``decode*/*/score.json`` of every experiment, write ``--out`` and print the tables of rates."""
    args = make_parser().parse_args(argv)
    experiments = collect_experiments(args.experiments)
    write_text(args.out, render_results(args.title, args.note, experiments).split("\n"))
    print("\n\n".join(render_rate_tables(experiments)))


if __name__ == "__main__":
    main()
