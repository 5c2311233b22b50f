"""Make an upstream linear: blocks learn what its attention gives, without labels.

It hears audio and reads no labels: data directories, but not their texts, audio files, and folders of these.
First each block learns to give what the attention in its place gives, then all of them together what the
layers and the encoder give, each from the output of the one below. OUT is then an upstream like any other,
linear in time where it was converted: inspect it, store its features, fine-tune its last layers with
`mixer: kept`. It holds the blocks alone, and needs the upstream that it was made of where that is now.

After a kill, the same command goes on.

Examples:
  espnet-wsm convert --upstream upstreams/whisper_base --out upstreams/whisper_linear recordings
  espnet-wsm convert --upstream upstreams/whisper_base --out upstreams/whisper_top4 --layers 4 data/train
  cd egs/asterisk/asr1
  ./run.sh --lang it --upstream ../../../upstreams/whisper_linear --mixer kept --num_replaced 2
"""

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from espnet_wsm.data.audio.channels import add_channel_argument
from espnet_wsm.errors import UserError, report_user_errors

if TYPE_CHECKING:
    from collections.abc import Callable

    from espnet_wsm.transfer.conversion import Converted, StartPhase

MIXERS = ("wsm_heads", "wsm", "local", "sm")
ALL = "all"


def make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "inputs", metavar="DIR_or_FILE", nargs="+", type=Path,
        help="data directory, audio file, or folder with audio in it and below it",
    )  # fmt: skip
    parser.add_argument(
        "--upstream", metavar="NAME_or_PATH", required=True,
        help="a checkpoint, or S3PRL's name for one on this machine",
    )  # fmt: skip
    parser.add_argument("--out", type=Path, required=True, help="folder to write, an upstream")
    parser.add_argument(
        "--layers", metavar="K", default=ALL, help="layers to convert, from the top; all (default) for all"
    )
    parser.add_argument(
        "--mixer", choices=MIXERS, default="wsm_heads", help="what they get (default: wsm_heads)"
    )
    parser.add_argument(
        "--window", metavar="FRAMES", type=int,
        help="half width of windows; default: those that the heads of the attention show, 10 of other mixers",
    )  # fmt: skip
    parser.add_argument(
        "--max_look_ahead", metavar="FRAMES", type=int,
        help="of mixer wsm_heads: the most frames of 20 ms that a layer sees after one (default: no limit)",
    )  # fmt: skip
    parser.add_argument(
        "--positions", choices=("keep", "drop"), default="keep",
        help="the convolution that gives positions below the layers; Whisper has none (default: keep)",
    )  # fmt: skip
    parser.add_argument("--minutes", type=float, help="of audio, at most (default: all)")
    parser.add_argument(
        "--steps", type=int, default=400, help="of learning what attention gives (default: 400)"
    )
    parser.add_argument(
        "--own_steps", type=int, default=400, help="then, of learning on their own inputs (default: 400)"
    )
    parser.add_argument("--lr", type=float, default=0.002, help="learning rate at the start (default: 0.002)")
    parser.add_argument(
        "--own_lr", type=float, default=1.5e-4,
        help="of the second phase; it is halved when errors grow (default: 0.00015)",
    )  # fmt: skip
    parser.add_argument(
        "--join_to", metavar="SECONDS", type=float, default=30.0,
        help="utterances are also joined to pieces of up to this long (default: 30)",
    )  # fmt: skip
    parser.add_argument("--frames", type=int, default=3000, help="frames of 20 ms in a step (default: 3000)")
    parser.add_argument(
        "--dtype", choices=("float32", "bfloat16", "auto"), default="float32",
        help="precision of matrix products; auto = bfloat16 where that is fast (default: float32)",
    )  # fmt: skip
    parser.add_argument("--seed", type=int, default=0, help="of what is drawn (default: 0)")
    parser.add_argument("--ngpu", type=int, default=0, help="0 = CPU, 1 = GPU (default: 0)")
    parser.add_argument(
        "--trust", action="store_true", help="open a checkpoint that can run code when it is loaded"
    )
    add_channel_argument(parser)
    return parser


def check(args: argparse.Namespace) -> None:
    """Refuse numbers that cannot work."""
    for name in ("steps", "own_steps", "frames"):
        if getattr(args, name) < 1:
            raise UserError(f"--{name} {getattr(args, name)} has to be 1 or more")
    for name in ("lr", "own_lr"):
        if not 0 < getattr(args, name) < 1:
            raise UserError(f"--{name} {getattr(args, name):g} has to be between 0 and 1")
    if args.minutes is not None and not args.minutes > 0:
        raise UserError(f"--minutes {args.minutes:g} has to be above 0")
    if not args.join_to > 0:
        raise UserError(f"--join_to {args.join_to:g} has to be above 0")
    if args.window is not None and args.window < 0:
        raise UserError(f"--window {args.window} has to be 0 or more")
    if args.layers != ALL and not (args.layers.isdecimal() and int(args.layers) > 0):
        raise UserError(f"--layers {args.layers} has to be a number of layers, 1 or more, or {ALL}")


def list_inputs(inputs: list[Path]) -> list[Path]:
    """Data directories and files; a folder without a wav.scp is the audio in it and below it."""
    from espnet_wsm.recognition.outputs import list_recordings

    found: list[Path] = []
    for given in inputs:
        if given.is_dir() and not (given / "wav.scp").exists():
            found += map(Path, list_recordings([str(given)]))
        else:
            found.append(given)
    return found


def format_result(result: "Converted") -> str:
    """The table of errors, and what happened on the way."""
    from espnet_wsm.tables import render_table

    heads = ["utterances", "of audio", *(f"layer {layer}" for layer in result.layers), "output"]
    rows = [
        [each.durations, f"{each.seconds / 60:.1f} min", *(f"{error:.3f}" for error in each.errors)]
        for each in result.by_duration
    ]
    forced = ", ".join(
        f"{layer}: {error:.3f}"
        for layer, error in zip(result.forced.layers, result.forced.held_out[-1], strict=True)
    )
    first, curve = result.together.held_out[0], result.together
    lines = [
        f"left of what each attention gives, on held-out audio: {forced}",
        f"left at the output before the blocks learnt together: {first[-1]:.3f}; then, squared error by "
        "variance, from the blocks' own inputs:",
        render_table(heads, rows),
    ]
    if curve.halved:
        lines.append(
            f"errors grew, and the learning rate was halved, at step {', '.join(map(str, curve.halved))}"
        )
    return "\n".join(lines)


def run(args: argparse.Namespace, start_phase: "StartPhase") -> "Converted | None":
    """Convert, and print what came of it; None if that had been done already.

    Args:
        args: of :func:`make_parser`.
        start_phase: told of every step.

    Raises:
        UserError: the upstream, the audio or an argument is faulty, or the folder holds something else.
    """
    check(args)

    from espnet_wsm.allocator import find_device
    from espnet_wsm.data.kaldi.excerpts import choose_excerpts
    from espnet_wsm.transfer import conversion
    from espnet_wsm.upstream import WsmConfig

    device = find_device(args.ngpu)
    conf: dict[str, Any] = {
        "upstream": args.upstream, "trust": args.trust, "mixer": args.mixer, "suffix_dtype": args.dtype
    }  # fmt: skip
    if args.mixer == "wsm_heads":
        conf |= {"windows": "attention" if args.window is None else args.window}
    elif args.window is not None:
        conf |= {"window": args.window}
    if args.max_look_ahead is not None:
        conf |= {"max_look_ahead": args.max_look_ahead}
    excerpts = choose_excerpts(list_inputs(args.inputs), args.minutes or float("inf"), args.channel)
    seconds = sum(each.seconds for each in excerpts)
    if seconds < conversion.LITTLE:
        print(
            f"warning: {seconds:.0f} s of audio: blocks that learn from less than "
            f"{conversion.LITTLE / 60:.0f} minutes give poorly what attention gives elsewhere; any speech "
            "will do, no text is needed",
            file=sys.stderr,
        )
    layers = None if args.layers == ALL else int(args.layers)
    settings = conversion.ConversionSettings(
        layers, WsmConfig.from_dict(conf), args.steps, args.own_steps, args.lr, args.own_lr, args.join_to,
        args.frames, args.seed, args.positions == "keep",
    )  # fmt: skip
    result = conversion.convert(settings, excerpts, args.out, device, start_phase)
    if result is None:
        print(f"{args.out} has been made already, with these settings of this audio")
        return None
    print(f"{args.upstream} -> {args.out}, from {result.seconds / 60:.1f} minutes of audio")
    print(format_result(result))
    return result


@report_user_errors
def main(argv: list[str] | None = None) -> None:
    """Entry point."""
    args = make_parser().parse_args(argv)
    with Bars() as bars:
        result = run(args, bars.start)
    if result is not None:
        count, path = min(2, len(result.layers)), args.out.resolve()
        print(f"fine-tune its last layers: ./run.sh --upstream {path} --mixer kept --num_replaced {count}")


class Bars:
    """A progress bar for each phase, with the mean error on held-out speech."""

    def __init__(self) -> None:
        self.bar: Any = None

    def __enter__(self) -> "Bars":
        return self

    def __exit__(self, *_: Any) -> None:
        if self.bar is not None:
            self.bar.close()

    def start(self, name: str, steps: int) -> "Callable[[int, float], None]":
        """A bar for ``steps``; returns what tells it how many are done, and the error."""
        from tqdm import tqdm

        self.__exit__()
        self.bar = tqdm(total=steps, desc=name, unit="step", mininterval=1)

        def step(done: int, error: float) -> None:
            self.bar.set_postfix_str(f"left {error:.3f}", refresh=False)
            self.bar.update(done - self.bar.n)

        return step


if __name__ == "__main__":
    main()
