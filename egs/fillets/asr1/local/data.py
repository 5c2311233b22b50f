#!/usr/bin/env python3
"""Kaldi data directories from Fish Fillets: game dialogue of two fish and others, in Czech or Dutch."""

from espnet_wsm.data.corpora.command import PACKAGES_BY_LANGUAGE, make_command
from espnet_wsm.data.corpora.fillets import PACKAGE_SIZES, prepare

main = make_command(
    __doc__,
    prepare,
    lang={"choices": sorted(PACKAGE_SIZES), "default": "cs", "help": "default: cs"},
    **PACKAGES_BY_LANGUAGE,
)

if __name__ == "__main__":
    main()
