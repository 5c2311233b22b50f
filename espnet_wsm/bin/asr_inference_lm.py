"""Decode by CTC beam search with an n-gram of words.

The other options, and the files, are those of asr_inference_greedy.
"""

import argparse
from dataclasses import fields

from espnet_wsm.bin import asr_inference_greedy
from espnet_wsm.errors import report_user_errors


def get_parser() -> argparse.ArgumentParser:
    """The options; ``--config`` takes a YAML file of them."""
    parser = asr_inference_greedy.get_parser(__doc__)
    parser.add_argument("--lm_file", required=True, help="n-gram of words, in ARPA's format or KenLM's")
    parser.add_argument("--lm_weight", type=float, default=0.5, help="weight of the language model")
    parser.add_argument(
        "--word_bonus", type=float, default=2.5, help="added for each word, as a natural logarithm"
    )
    parser.add_argument(
        "--unk_score",
        type=float,
        default=-6.0,
        help="log10 probability of a word unknown to the language model",
    )
    parser.add_argument("--beam_size", type=int, default=50, help="hypotheses kept in each frame")
    parser.add_argument(
        "--beam_size_token", type=int, default=20, help="tokens tried in each frame, the most probable ones"
    )
    parser.add_argument(
        "--beam_threshold",
        type=float,
        default=15.0,
        help="drop hypotheses that score this much less than the best, as a natural logarithm",
    )
    return parser


@report_user_errors
def main(cmd: list[str] | None = None) -> None:
    """Entry point."""
    args = get_parser().parse_args(cmd)

    from espnet_wsm.recognition.lm_search import LmCtcDecoder, LmSearchConfig

    config = LmSearchConfig(**{field.name: getattr(args, field.name) for field in fields(LmSearchConfig)})
    files = (args.asr_train_config, args.asr_model_file, args.lm_file)
    asr_inference_greedy.decode(args, lambda device: LmCtcDecoder(*files, config, device, args.dtype))


if __name__ == "__main__":
    main()
