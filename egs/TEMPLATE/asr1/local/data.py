#!/usr/bin/env python3
"""Make Kaldi data directories of this corpus from --downloads.

If prepare_corpus cannot read the corpus, read it here: take --downloads and --out, and write
OUT/train, OUT/dev and OUT/test with espnet_wsm.data.kaldi.directory.write_data_dir
(CONTRIBUTING.md, "Add a corpus", shows a whole script).
"""

from espnet_wsm.bin.prepare_corpus import main

if __name__ == "__main__":
    main()
