#!/usr/bin/env python3
"""Kaldi data directories from a language of any release of Common Voice."""

from espnet_wsm.data.corpora.command import FOLDERS, NEED, make_command
from espnet_wsm.data.corpora.commonvoice import prepare

main = make_command(
    __doc__,
    prepare,
    lang={"required": True, "help": "name of the language's folder, e.g. sw"},
    **FOLDERS,
    need=NEED,
)

if __name__ == "__main__":
    main()
