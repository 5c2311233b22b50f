#!/usr/bin/env python3
"""Kaldi data directories from festvox-ru: sentences read by one Russian voice for a speech synthesiser."""

from espnet_wsm.data.corpora.command import FOLDERS, make_command
from espnet_wsm.data.corpora.festvox_ru import prepare

main = make_command(
    __doc__,
    prepare,
    downloads={
        **FOLDERS["downloads"],
        "help": "folder with the unpacked package, or to which it is downloaded (default: downloads)",
    },
    out=FOLDERS["out"],
)

if __name__ == "__main__":
    main()
