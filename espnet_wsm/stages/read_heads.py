"""Read off stored features where the heads of the attention look, if the training has windows: attention."""

import argparse
import sys
from pathlib import Path

from espnet_wsm.errors import report_user_errors
from espnet_wsm.stages import split_arguments

MINUTES = 3.0  # of speech that is looked at


@report_user_errors
def main(argv: list[str] | None = None) -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(
        description=__doc__, epilog="The arguments of the training follow after --."
    )
    parser.add_argument("--folder", type=Path, required=True, help="of the cut, with the stored features")
    parser.add_argument("--set", required=True, help="whose features are looked at, e.g. train")
    own, training = split_arguments(sys.argv[1:] if argv is None else argv)
    args = parser.parse_args(own)

    from espnet_wsm.plugin.arguments import read_arguments
    from espnet_wsm.upstream import WsmConfig
    from espnet_wsm.upstream.heads_record import HEADS_FILE

    config = WsmConfig.from_dict(read_arguments(training, checks_optimiser=False).encoder_conf)
    file = args.folder / HEADS_FILE
    if not config.reads_heads or file.is_file():
        return

    from espnet_wsm.data.features.reader import FeatureReader
    from espnet_wsm.transfer.heads import read_stored_heads
    from espnet_wsm.upstream.stored_cut import check_cut, load_suffix

    cut = check_cut(args.folder, config)
    reader = FeatureReader(args.folder / args.set / "feats.scp")
    record = read_stored_heads(load_suffix(args.folder, cut), cut, reader, MINUTES)
    record.write(file)
    print(record.describe(), file=sys.stderr)


if __name__ == "__main__":
    main()
