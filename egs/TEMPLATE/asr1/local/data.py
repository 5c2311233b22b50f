#!/usr/bin/env python3
"""Kaldi data directories of this corpus, from whatever --downloads is.

A corpus that prepare_corpus does not know is read here instead: take --downloads and --out, and write
OUT/train, OUT/dev and OUT/test with espnet_wsm.data.kaldi.write_data_dir.
"""

from espnet_wsm.bin.prepare_corpus import main

if __name__ == "__main__":
    main()
