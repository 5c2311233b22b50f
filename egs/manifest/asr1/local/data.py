#!/usr/bin/env python3
"""Kaldi data directories from tables, annotated recordings, parquet or Kaldi directories."""

from espnet_wsm.bin.prepare_corpus import main

if __name__ == "__main__":
    main()
