#!/usr/bin/env python3
"""Kaldi data directories from the Asterisk core sounds: telephone prompts in five languages."""

from espnet_wsm.data.corpora.asterisk import VOICES, prepare
from espnet_wsm.data.corpora.command import PACKAGES_BY_LANGUAGE, make_command

main = make_command(
    __doc__,
    prepare,
    lang={"choices": sorted(VOICES), "default": "en", "help": "default: en"},
    **PACKAGES_BY_LANGUAGE,
)

if __name__ == "__main__":
    main()
