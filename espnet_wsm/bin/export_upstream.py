"""Convert an experiment of hubert_train to an upstream in transformers' form.

With --sources it can be published: it gets a model card and the licence of its weights.
"""

import argparse
from pathlib import Path

from espnet_wsm.errors import report_user_errors


def make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument("--exp", type=Path, required=True, help="folder of the experiment")
    parser.add_argument("--out", type=Path, required=True, help="directory to write")
    parser.add_argument("--sources", type=Path, help="sources.json of the data; without it, no card")
    parser.add_argument(
        "--earlier", type=Path, nargs="*", default=[], help="earlier iterations of this one, for the card"
    )
    parser.add_argument(
        "--private",
        choices=("true", "false"),
        default="false",
        help="true: the model must not be published, whatever the licences of its sources",
    )
    return parser


@report_user_errors
def main(argv: list[str] | None = None) -> None:
    """Entry point."""
    args = make_parser().parse_args(argv)
    private = args.private == "true"

    from espnet_wsm.pretraining.card import write_card
    from espnet_wsm.pretraining.export import (
        build_hubert,
        read_training,
        refuse_foreign,
        save_upstream,
    )
    from espnet_wsm.pretraining.licences import read_sources, refuse_exclusive, write_licence
    from espnet_wsm.pretraining.records import read_iteration

    refuse_foreign(args.out)
    sources = read_sources(args.sources) if args.sources else []
    if not private:
        refuse_exclusive(sources)
    encoder_conf, state = read_training(args.exp)
    model = build_hubert(encoder_conf, state)
    parameters = sum(p.numel() for p in model.parameters())
    iterations = {exp.name: read_iteration(exp) for exp in (*args.earlier, args.exp) if sources}

    def describe(directory: Path) -> dict[str, str]:
        if not sources:
            return {}
        card = write_card(directory, parameters, sources, iterations, private)
        return {"README.md": card} | ({} if private else {"LICENSE": write_licence(sources)})

    save_upstream(model, args.out, args.exp, describe)
    print(f"{args.out}: {parameters:,} parameters")


if __name__ == "__main__":
    main()
