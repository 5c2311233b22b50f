"""What can stand in the last layers of an upstream, with the names and looks that every report gives it."""

from dataclasses import dataclass, replace
from typing import Any


@dataclass(frozen=True)
class Arm:
    """One arm of a comparison.

    Args:
        options: keys of ``encoder_conf``. Where they hold ``num_replaced``, the arm has no other.
        words: what mixes in the last layers, inside a sentence.
        colour: in all figures.
        marker: of matplotlib, which distinguishes arms in greyscale.
        transfers: whether its blocks first learn what the attention in their place gives.
        pseudo_of: the arm whose model first transcribes what is not transcribed, for self-training.
        pseudo_rounds: how often.
        rate_of: the arm whose learning rate it has, as it differs in what the rate hardly depends on.
        training: further arguments of asr_train, separated by spaces.
        transfer_args: further arguments of its transfer, separated by spaces.
    """

    options: dict[str, Any]
    words: str
    colour: str
    marker: str
    transfers: bool = False
    pseudo_of: str | None = None
    pseudo_rounds: int = 0
    rate_of: str | None = None
    training: str = ""
    transfer_args: str = ""


# Okabe and Ito's palette and colours of Tol's, which are safe for colour-blind readers.
ARMS = {
    "wsm": Arm({"mixer": "wsm"}, "WSM", "#D55E00", "o"),
    "sm": Arm({"mixer": "sm"}, "SM", "#009E73", "s"),
    "sm_authors": Arm(
        {"mixer": "sm", "hidden": [512], "combine_activation": "gelu"}, "SM as its authors", "#117733", "h"
    ),
    "local": Arm({"mixer": "local"}, "local mean only", "#CC79A7", "v"),
    "wsm_causal": Arm({"mixer": "wsm", "causal": True}, "causal WSM", "#997700", "x", rate_of="wsm"),
    "local_causal": Arm(
        {"mixer": "local", "causal": True}, "causal local mean only", "#6699CC", "+", rate_of="local"
    ),
    "wsm_heads": Arm({"mixer": "wsm_heads"}, "head windows", "#AA4499", "d", rate_of="wsm_heads_transfer"),
    "wsm_transfer": Arm({"mixer": "wsm"}, "WSM after transfer", "#A63603", "8", transfers=True),
    "sm_transfer": Arm(
        {"mixer": "sm"}, "SM after transfer", "#44AA99", "1", transfers=True, rate_of="wsm_transfer"
    ),
    "local_transfer": Arm(
        {"mixer": "local"},
        "local mean only, after transfer",
        "#CC6677",
        "2",
        transfers=True,
        rate_of="wsm_transfer",
    ),
    "wsm_heads_transfer": Arm(
        {"mixer": "wsm_heads"}, "head windows after transfer", "#5E2390", "H", transfers=True
    ),
    "heads_ahead_transfer": Arm(
        {"mixer": "wsm_heads", "max_look_ahead": 10},
        "head windows that end 0.2 s ahead, after transfer",
        "#225522",
        ".",
        transfers=True,
        rate_of="wsm_heads_transfer",
    ),
    "converted": Arm(
        {"mixer": "kept"},
        "head windows of an upstream that has them in all layers",
        "#EE3377",
        "8",
        rate_of="wsm_heads_transfer",
    ),
    "heads_plain_transfer": Arm(
        {"mixer": "wsm_heads", "key_weights": False},
        "head windows without key weights, after transfer",
        "#DDCC77",
        "3",
        transfers=True,
        rate_of="wsm_heads_transfer",
    ),
    "heads_random_transfer": Arm(
        {"mixer": "wsm_heads", "init": "random"},
        "head windows with random values, after transfer",
        "#88CCEE",
        "4",
        transfers=True,
        rate_of="wsm_heads_transfer",
    ),
    "attention": Arm({"mixer": "attention"}, "pretrained attention", "#0072B2", "D"),
    "random_attention": Arm({"mixer": "random_attention"}, "random attention", "#56B4E9", "^"),
    "reset": Arm({"mixer": "reset"}, "random attention and feed-forward", "#332288", "<"),
    "drop": Arm({"mixer": "drop"}, "nothing, as they are removed", "#999999", "X"),
    "lora": Arm({"mixer": "lora", "trainable": "mixer"}, "LoRA on attention", "#000000", "P"),
    "gc_lora": Arm(
        {"mixer": "gc_lora", "trainable": "mixer"},
        "LoRA with a gated convolution on attention",
        "#999933",
        "p",
    ),
    "kv_pool": Arm({"mixer": "kv_pool"}, "pretrained attention to pooled keys", "#882255", ">"),
    "frozen": Arm({"mixer": "wsm", "num_replaced": 0}, "what was pretrained, frozen", "#E69F00", "*"),
}
# Two views of each utterance, a third of whose frames are masked at most, have to agree.
VIEWS = "--model_conf consistency=0.2 --specaug specaug --specaug_conf apply_time_warp=false"
VIEWS += " --specaug_conf num_time_mask=5 --specaug_conf time_mask_width_ratio_range=[0,0.07]"
VIEWS += " --specaug_conf freq_mask_width_range=[0,40] --specaug_conf replace_with_zero=false"


def _vary(arm: str, suffix: str, words: str, colour: str, marker: str, **changes: Any) -> dict[str, Arm]:
    """A variant of an arm, which has its learning rate, under its name."""
    of = ARMS[arm]
    changes |= {"words": f"{of.words}, {words}", "colour": colour, "marker": marker, "rate_of": arm}
    return {f"{arm}_{suffix}": replace(of, **changes)}


_ONE, _TWO = "1 round of self-training", "2 rounds of self-training"
ARMS |= _vary("wsm", "pseudo1", _ONE, "#F4A582", "+", pseudo_of="wsm", pseudo_rounds=1)
ARMS |= _vary("wsm", "pseudo2", _TWO, "#B2182B", "x", pseudo_of="wsm", pseudo_rounds=2)
_HEADS = "wsm_heads_transfer"
ARMS |= _vary(_HEADS, "pseudo1", _ONE, "#92C5DE", "|", pseudo_of=_HEADS, pseudo_rounds=1)
ARMS |= _vary(_HEADS, "pseudo2", _TWO, "#2166AC", "_", pseudo_of=_HEADS, pseudo_rounds=2)
_LAYER, _LONG, _SMALL = "target: the layer's output", "1,000 steps", "1,000 frames a step"
ARMS |= _vary(_HEADS, "layer", _LAYER, "#7F3C8D", "1", transfer_args="--target layer")
ARMS |= _vary(_HEADS, "long", _LONG, "#11A579", "2", transfer_args="--steps 1000")
ARMS |= _vary(_HEADS, "small", _SMALL, "#A5AA99", "8", transfer_args="--frames 1000")
_SLOW, _LATE = "pre-trained at a quarter of the rate", "pre-trained from step 100 on"
ARMS |= _vary(_HEADS, "slow", _SLOW, "#3969AC", "3", training="--pretrained_lr_scale 0.25")
ARMS |= _vary(_HEADS, "late", _LATE, "#F2B701", "4", training="--pretrained_from_step 100")
# The two layers of Whisper base that `espnet-wsm layers` ranks as the cheapest, in place of the last two.
ARMS |= _vary(
    _HEADS, "low", "layers 1 and 4", "#E73F74", "<", options={"mixer": "wsm_heads", "layers": [1, 4]}
)
ARMS |= _vary(
    "attention", "low", "layers 1 and 4", "#80BA5A", ">", options={"mixer": "attention", "layers": [1, 4]}
)
ARMS |= _vary("attention", "views", "two views", "#004488", "|", training=VIEWS)
ARMS |= _vary("wsm", "views", "two views", "#BB5566", "_", training=VIEWS)
ARMS |= _vary(_HEADS, "views", "two views", "#DDAA33", "+", training=VIEWS)


def _list_with(*mixers: str) -> tuple[str, ...]:
    """The arms in whose layers one of these mixers is."""
    return tuple(
        name
        for name, arm in ARMS.items()
        if arm.options["mixer"] in mixers and arm.options.get("num_replaced") != 0
    )


# The mixers whose blocks can learn what attention gives; and, where nobody says, in how many steps of how
# many frames.
STUDENTS = ("wsm", "wsm_heads", "sm", "local")
TRANSFER_STEPS, TRANSFER_FRAMES = 400, 1000
# Arms, and mixers, that read encoder_conf's window, and likewise its width.
WITH_WINDOW = _list_with("wsm", "local")
WITH_WIDTH = _list_with("wsm", "sm", "local")
# Half width in frames of head windows where costs are measured and there are no heads to look at: about the
# mean of those of whisper_base.
HALF_WIDTH = 25
