"""Suggest upstream and settings for a corpus, with reasons and the command.

Reads a Kaldi data directory and looks at this machine. What is suggested comes from the experiments of this
project, whose records it reads; where they have nothing to say, it says so. Nothing is trained or written.

Example:
  espnet-wsm suggest data/train
  espnet-wsm suggest data/train --ngpu 1 --gpu_memory_gb 12 --memory_gb 32    # for another machine
"""

import argparse
import contextlib
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from espnet_wsm.advice.machine import Machine, read_machine
from espnet_wsm.data.text.rules import add_text_arguments, read_text_arguments
from espnet_wsm.errors import UserError, report_user_errors


def make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("directory", metavar="DIR", type=Path, help="data directory of training speech")
    parser.add_argument("--cores", type=int, help="processor cores (default: those of this machine)")
    parser.add_argument("--memory_gb", type=float, help="GB of memory (default: this machine's)")
    parser.add_argument("--ngpu", type=int, help="number of GPUs (default: this machine's)")
    parser.add_argument("--gpu_memory_gb", type=float, help="GB of a GPU (default: this machine's)")
    parser.add_argument("--format", choices=("text", "json"), default="text", help="(default: text)")
    add_text_arguments(parser)
    return parser


@report_user_errors
def main(argv: Sequence[str] | None = None) -> None:
    """Entry point."""
    args = make_parser().parse_args(argv)
    machine = _choose_machine(args)

    from espnet_wsm.advice.corpus import read_corpus
    from espnet_wsm.advice.suggestion import as_record, find_recipe, render_text, suggest

    here, recipe = Path.cwd(), find_recipe(args.directory)
    directory = args.directory if recipe in (None, here) else args.directory.absolute()
    with contextlib.chdir(recipe or here):
        corpus = read_corpus(directory, read_text_arguments(args))
    suggestion = suggest(corpus, machine)
    if args.format == "json":
        print(json.dumps(as_record(suggestion), indent=1, ensure_ascii=False))
    else:
        print(render_text(suggestion))


def _choose_machine(args: argparse.Namespace) -> Machine:
    """This machine, but for what the user says of another one.

    Raises:
        UserError: a number makes no sense.
    """
    for name, least in (("cores", 1), ("memory_gb", 0.1), ("ngpu", 0), ("gpu_memory_gb", 0.1)):
        value = getattr(args, name)
        if value is not None and not least <= value < 1e6:
            raise UserError(f"--{name} {value:g}: give a number of {least:g} or more")
    machine = read_machine()
    said = {name: getattr(args, name) for name in ("cores", "memory_gb", "ngpu", "gpu_memory_gb")}
    machine = replace(machine, **{name: value for name, value in said.items() if value is not None})
    if machine.ngpu == 0:
        if args.gpu_memory_gb is not None:
            raise UserError(f"--gpu_memory_gb {args.gpu_memory_gb:g}: there is no GPU: give --ngpu 1 too")
        machine = replace(machine, gpu_memory_gb=None)
    return machine


if __name__ == "__main__":
    main()
