"""Decode by CTC beam search with an n-gram of words; options and files are those of asr_inference_greedy."""

import argparse

from espnet_wsm.bin import asr_inference_greedy
from espnet_wsm.errors import report_user_errors

# The fields of LmSearchConfig.
WEIGHTS = {
    "lm_weight": (0.5, "weight of the language model"),
    "word_bonus": (2.5, "natural logarithm, for each word"),
    "unk_score": (-6.0, "log10 probability of a word that the language model does not know"),
    "beam_size": (50, "hypotheses kept in each frame"),
    "beam_size_token": (20, "the best tokens of a frame that lengthen them"),
    "beam_threshold": (15.0, "drop what is worse than the best by more (natural logarithm)"),
}


def get_parser() -> argparse.ArgumentParser:
    """The options; ``--config`` takes a YAML file of them."""
    parser = asr_inference_greedy.get_parser(__doc__)
    parser.add_argument("--lm_file", required=True, help="n-gram of words, in ARPA's format or KenLM's")
    for name, (default, help_) in WEIGHTS.items():
        parser.add_argument(f"--{name}", type=type(default), default=default, help=help_)
    return parser


@report_user_errors
def main(cmd: list[str] | None = None) -> None:
    """Entry point."""
    args = get_parser().parse_args(cmd)

    from espnet_wsm.plugin.lm_search import LmCtcDecoder, LmSearchConfig

    config = LmSearchConfig(**{name: getattr(args, name) for name in WEIGHTS})
    files = (args.asr_train_config, args.asr_model_file, args.lm_file)
    asr_inference_greedy.decode(args, lambda device: LmCtcDecoder(*files, config, device))


if __name__ == "__main__":
    main()
