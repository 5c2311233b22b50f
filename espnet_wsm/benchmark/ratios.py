"""The numbers that a benchmark is made for."""

from typing import NamedTuple

# Arms that a configuration has to name in ``ratio_arms``, and those that it may name.
PARTS = ("reference", "cut", "attention_cut", "cached")
OPTIONAL_PARTS = (
    "attention_no_dropout",
    "attention_no_dropout_cached",
    "wide",
    "recompute",
    "heads",
    "heads_cached",
)


class Ratio(NamedTuple):
    """A value of one arm over that of another.

    Args:
        value: what is divided; ``windowed_mean`` is measured once a run, without an arm.
        parts: the arms, by their part in ``ratio_arms``; of a single one, its growth with length is taken.
        meaning: in words.
    """

    value: str
    parts: tuple[str, ...]
    meaning: str


NO_DROPOUT = "attention without dropout"
RATIOS = {
    "saved_bytes_cut": Ratio(
        "saved_bytes", ("cut", "reference"), "bytes autograd keeps, ours with the cut / today"
    ),
    "saved_bytes_recompute": Ratio(
        "saved_bytes", ("recompute", "reference"), "the same with `recompute: layer` / today"
    ),
    "saved_bytes_wsm_vs_attention_cut": Ratio(
        "saved_bytes", ("cut", "attention_cut"), "bytes autograd keeps, WSM / attention, both with the cut"
    ),
    "saved_bytes_wsm_vs_attention_no_dropout": Ratio(
        "saved_bytes", ("cut", "attention_no_dropout"), f"the same, WSM / {NO_DROPOUT}"
    ),
    "saved_bytes_heads_vs_attention_no_dropout": Ratio(
        "saved_bytes", ("heads", "attention_no_dropout"), f"the same, head windows / {NO_DROPOUT}"
    ),
    "block_saved_bytes_256": Ratio(
        "block_saved_bytes",
        ("cut", "attention_no_dropout"),
        f"bytes that a block keeps by itself, WSM / {NO_DROPOUT}",
    ),
    "block_saved_bytes_768": Ratio(
        "block_saved_bytes", ("wide", "attention_no_dropout"), "the same with a width of 768"
    ),
    "step_cut": Ratio("step_s", ("cut", "reference"), "time of a training step, ours with the cut / today"),
    "step_cached": Ratio(
        "step_s", ("cached", "reference"), "time of a training step, ours on cached features / today"
    ),
    "step_wsm_vs_attention_no_dropout": Ratio(
        "step_s",
        ("cached", "attention_no_dropout_cached"),
        f"time of a training step on cached features, WSM / {NO_DROPOUT}",
    ),
    "step_heads_vs_attention_no_dropout": Ratio(
        "step_s",
        ("heads_cached", "attention_no_dropout_cached"),
        f"the same, head windows / {NO_DROPOUT}",
    ),
    "checkpoint_bytes": Ratio("checkpoint_bytes", ("cut", "reference"), "Nepoch.pth, ours / today"),
    "growth_exponent": Ratio(
        "suffix_s",
        ("cached",),
        "slope of log time over log length of ours above the cut, forward and backward",
    ),
    "windowed_mean": Ratio(
        "windowed_mean",
        (),
        "time of a mean over 21 frames, by doubling / by the difference of running sums in float64; of 500 "
        "and 5,000 frames of 256 channels, the larger one",
    ),
}
