#!/usr/bin/env python3
"""Kaldi data directories from LibriSpeech and from Libri-light's subsets of 10 min, 1 h and 10 h."""

from espnet_wsm.data.corpora.command import FOLDERS, NEED, make_command
from espnet_wsm.data.corpora.librispeech import prepare

main = make_command(__doc__, prepare, **FOLDERS, need=NEED)

if __name__ == "__main__":
    main()
