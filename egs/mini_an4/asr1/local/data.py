#!/usr/bin/env python3
"""Kaldi data directories from mini AN4: eight recordings in the ESPnet wheel, for trying out a recipe."""

from espnet_wsm.data.corpora.command import FOLDERS, make_command
from espnet_wsm.data.corpora.mini_an4 import prepare

main = make_command(__doc__, prepare, **FOLDERS)

if __name__ == "__main__":
    main()
