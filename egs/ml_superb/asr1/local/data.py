#!/usr/bin/env python3
"""Kaldi data directories from ML-SUPERB: one language of one of its corpora, or all together."""

from espnet_wsm.data.corpora.command import FOLDERS, make_command
from espnet_wsm.data.corpora.ml_superb import prepare

main = make_command(
    __doc__,
    prepare,
    lang={"required": True, "help": "eng1, CORPUS/LANGUAGE, LANGUAGE, or all"},
    **FOLDERS,
)

if __name__ == "__main__":
    main()
