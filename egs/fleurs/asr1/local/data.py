#!/usr/bin/env python3
"""Kaldi data directories from a language of FLEURS."""

from espnet_wsm.data.corpora.command import FOLDERS, make_command
from espnet_wsm.data.corpora.fleurs import prepare

main = make_command(
    __doc__,
    prepare,
    lang={"required": True, "help": "name of the language's folder, e.g. sw_ke"},
    **FOLDERS,
)

if __name__ == "__main__":
    main()
