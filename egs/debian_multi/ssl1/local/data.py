#!/usr/bin/env python3
"""Kaldi data directories of unlabelled speech: the training sets of the other recipes, and prompts."""

from pathlib import Path

from espnet_wsm.data.corpora.command import FOLDERS, make_command
from espnet_wsm.data.corpora.debian_multi import SOURCES, prepare

main = make_command(
    __doc__,
    prepare,
    sources={"required": True, "help": f"voices, separated by spaces, of: {' '.join(SOURCES)}"},
    downloads={**FOLDERS["downloads"], "help": "unpacked Debian packages"},
    out={"type": Path, "required": True, "help": "folder to write, e.g. data/multi"},
)

if __name__ == "__main__":
    main()
