"""What is replaced, by what, and what of it trains."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from typing import Any

from espnet_wsm.errors import UserError
from espnet_wsm.mixing.block import ACTIVATIONS
from espnet_wsm.rules import Rule, check, count, is_number, is_whole, one_of
from espnet_wsm.upstream.heads_choice import parse_auto, parse_file, with_cheapest_layers, with_windows_of
from espnet_wsm.upstream.heads_record import READ_OFF

# Removes whole layers instead of replacing their attention; the cut stays where it would be otherwise.
DROP = "drop"
# Trains what a converted upstream has in the place of attention.
KEPT = "kept"
# The mixers that know `causal`.
CAUSAL = ("wsm", "sm", "local")
# The others are built in mixers.py.
MIXER_NAMES = (
    "wsm", "sm", "local", "wsm_heads",
    "attention", "random_attention", "reset", "kv_pool", "lora", "gc_lora", KEPT, DROP,
)  # fmt: skip
TRAINABLE = ("layer", "mixer", "suffix")
FEATURES = ("last", "weighted_sum")
PREFIX_DTYPES = ("float32", "float16", "bfloat16")
SUFFIX_DTYPES = ("float32", "bfloat16", "auto")
INITS = ("attention", "random")
RECOMPUTE = ("auto", "none", "block", "layer")
# Fields of WsmConfig that no block depends on.
IMMATERIAL = (
    "upstream", "trust", "trainable", "features", "interctc_layer_idx", "interctc_use_conditioning",
    "recompute", "exact_padding",
)  # fmt: skip


@dataclass(frozen=True)
class WsmConfig:
    """The ``encoder_conf`` of the encoder ``wsm_s3prl``.

    Args:
        upstream: a checkpoint's file or directory, or S3PRL's name of an upstream that is on this machine
            (``fetch_upstream`` gets it there), e.g. ``xls_r_300m``.
        trust: whether to load an upstream's file even if loading it can run code.
        num_replaced: k, the number of layers, counted from the top, whose self-attention is replaced; 0
            trains only the head.
        layers: numbers of the layers to replace instead of the last k, 1 = the lowest. The cut is below the
            lowest of them. ``auto:K:PATH`` is turned into numbers by :meth:`from_dict`: those of the K layers
            that PATH, a ``heads.json`` of ``espnet-wsm layers``, ranks as the cheapest to replace.
        mixer: what replaces their self-attention, a key of ``espnet_wsm.upstream.MIXERS``; or ``drop``, which
            removes these layers altogether; or ``kept``, which trains what a converted upstream
            (``espnet-wsm convert``) has there already.
        window: half width of the local summary in frames of 20 ms, or several of them.
        width: channels of the block's projections; None = those of the model.
        heads: blocks of the block-diagonal projections.
        dropout: inside the block, 0 to 1.
        shared_projection: whether local and global summaries share one projection.
        hidden: channels of hidden layers in f and s, before their output; None = no hidden layer. The authors
            of SummaryMixing have one of 512.
        combine_activation: what follows c, ``none`` or ``gelu`` (as in the authors' SummaryMixing).
        causal: of the mixers wsm, sm and local: whether a frame sees none after it. The window then holds the
            frame and the 2 ``window`` before it, as many frames as else, and the mean over the utterance is
            that over the frames so far.
        windows: of ``mixer: wsm_heads``: ``attention``, where the heads of the attention look, which stage 2
            reads off the training data; or [first, last] frame of each head's window, relative to the frame,
            e.g. [6, 21] for one ahead; a list of them for all replaced layers, or such a list for each, from
            the lowest; or one number, the half width of all. None = ``window`` on either side. The path of a
            ``heads.json`` is turned into lists by :meth:`from_dict`.
        init: where ``mixer: wsm_heads`` has its values and its output from: the ``attention`` in its place,
            or ``random``.
        key_weights: of ``mixer: wsm_heads``: whether the frames of a window have weights, which are learnt.
        per_frame_width: of ``mixer: wsm_heads``: channels of the path of the frame itself, 0 for none; None =
            half of those of the model.
        global_summary: of ``mixer: wsm_heads``: whether it has the mean over the utterance too.
        max_look_ahead: of ``mixer: wsm_heads``: the most frames of 20 ms after a frame that it may see: no
            window goes further, and the mean over the utterance is that over the frames so far. None for no
            limit.
        lora_rank: rank of the matrices that ``mixer: lora`` adds to the projections of the pretrained
            attention. ``trainable: mixer`` is the usual LoRA; with ``layer``, the rest of the layer trains
            too. With ``gc_lora``, of the matrices before and after its convolution.
        lora_alpha: the added matrices are scaled by ``lora_alpha / lora_rank``.
        lora_kernel: frames of 20 ms that the convolution of ``mixer: gc_lora`` sees, an odd number.
        pool: frames of 20 ms over which ``mixer: kv_pool`` takes the means of keys and values.
        trainable: ``mixer`` trains only the mixing blocks (with ``reset``, what is at random); ``layer`` the
            whole replaced layers and the norm above the last layer; ``suffix`` everything above the cut,
            replaced or not. The paper can be read as either ``mixer`` or ``layer``; the default is our
            choice.
        features: ``last`` returns the output of the last layer, ``weighted_sum`` a learned weighted mean of
            the input of the first layer and the outputs of all layers (SUPERB, arXiv 2105.01051).
        interctc_layer_idx: numbers of layers above the cut, but not the top one, 1 = the lowest of the
            upstream, after which CTC is computed too, with the head of the output
            (``model_conf.interctc_weight``). The name is ESPnet's. None for none.
        interctc_use_conditioning: whether what CTC predicts there is added to the input of the next layer,
            through a linear layer that all of them share (self-conditioned CTC, arXiv 2104.02724).
        prefix_dtype: precision of the frozen layers, independent of the precision of training (including
            autocast), so that stored and freshly computed features agree. Half precision halves their memory.
        suffix_dtype: precision of the matrix products above the cut, in training and decoding. float32 leaves
            this to ESPnet's ``use_amp``, which supports only CUDA. bfloat16 trains faster on processors that
            have instructions for it, and fifty times slower on a CPU without them; auto takes it where it
            is fast (``espnet_wsm.upstream.choose_dtype``).
        recompute: what the backward pass computes anew, so that autograd need not keep it: ``none``;
            ``block``, what is in the attention's place, whatever it is; ``layer``, the layers above the cut
            as a whole, the dearest in time and the cheapest in memory; ``auto``, blocks of ours, which do it
            at little cost, and no attention. Results are the same.
        exact_padding: whether the parts below the layers that span several frames (the group norm of Base
            models, the stacked position convolutions of data2vec) exclude padding, so that an utterance is
            encoded the same alone and in a padded batch. False computes them as S3PRL does.

    Raises:
        UserError: a value is invalid; names the field and the value.
    """

    upstream: str
    trust: bool = False
    num_replaced: int = 2
    layers: Sequence[int] | None = None
    mixer: str = "wsm"
    window: int | Sequence[int] = 10
    width: int | None = None
    heads: int = 1
    dropout: float = 0.0
    shared_projection: bool = True
    hidden: Sequence[int] | None = None
    combine_activation: str = "none"
    causal: bool = False
    windows: Sequence | str | int | None = READ_OFF
    init: str = "attention"
    key_weights: bool = True
    per_frame_width: int | None = None
    global_summary: bool = True
    max_look_ahead: int | None = None
    lora_rank: int = 8
    lora_alpha: float = 16.0
    lora_kernel: int = 15
    pool: int = 4
    trainable: str = "layer"
    features: str = "last"
    interctc_layer_idx: Sequence[int] | None = None
    interctc_use_conditioning: bool = False
    prefix_dtype: str = "float32"
    suffix_dtype: str = "float32"
    recompute: str = "auto"
    exact_padding: bool = True

    @classmethod
    def from_dict(cls, conf: dict) -> "WsmConfig":
        """Build from a YAML mapping; what it says by naming a ``heads.json`` becomes numbers here.

        Raises:
            UserError: a key is unknown, there is none for the upstream, or a value or that file is invalid.
        """
        known = [field.name for field in fields(cls)]
        unknown = sorted(set(conf) - set(known))
        if "path" in unknown:
            raise UserError(
                f"encoder_conf has no key path: write 'upstream: {conf['path']}' in place of upstream and "
                "path; the family is found from the checkpoint"
            )
        if unknown:
            raise UserError(f"encoder_conf has no key {', '.join(unknown)}; the keys are {', '.join(known)}")
        if not conf.get("upstream"):
            raise UserError(
                "encoder_conf needs 'upstream', the path of a checkpoint or S3PRL's name of an upstream"
            )
        auto, file = parse_auto(conf.get("layers")), parse_file(conf.get("windows"))
        config = cls(
            **dict(conf) | ({"layers": None} if auto else {}) | ({"windows": READ_OFF} if file else {})
        )
        if auto:
            config = with_cheapest_layers(config, *auto)
        return with_windows_of(config, file) if file else config

    def __post_init__(self) -> None:
        for field, rule in RULES.items():
            check(self, field, rule)
        if self.causal and self.mixer not in CAUSAL:
            more = ": it has max_look_ahead: 0 for that" if self.mixer == "wsm_heads" else ""
            raise UserError(f"causal: true is for the mixers {', '.join(CAUSAL)}, not for {self.mixer}{more}")
        if self.max_look_ahead is not None and self.mixer != "wsm_heads":
            more = ": it has causal: true for that" if self.mixer in CAUSAL else ""
            raise UserError(f"max_look_ahead is for the mixer wsm_heads, not for {self.mixer}{more}")

        if self.interctc_use_conditioning and not self.interctc_layer_idx:
            raise UserError("interctc_use_conditioning: true needs interctc_layer_idx, numbers of layers")
        if self.interctc_layer_idx and self.mixer == DROP:
            raise UserError(
                f"interctc_layer_idx is not for mixer {DROP}, which leaves no layer to be numbered"
            )
        if self.interctc_layer_idx and self.features != "last":
            raise UserError(
                f"interctc_layer_idx needs features: last; with {self.features}, CTC never hears the output "
                "of one layer alone"
            )

    @property
    def reads_heads(self) -> bool:
        """Whether its windows have to be read off the heads of the attention."""
        return self.mixer == "wsm_heads" and self.windows == READ_OFF

    def place_cut(self, depth: int) -> tuple[int, tuple[int, ...]]:
        """Where to cut an upstream of ``depth`` layers, and which of the layers above are replaced.

        Returns:
            The number of layers below the cut, and the indices of the replaced layers among those above it,
            0 = the lowest.

        Raises:
            UserError: the upstream has fewer layers.
        """
        layers = range(depth - self.num_replaced + 1, depth + 1) if self.layers is None else self.layers
        if self.num_replaced > depth and self.layers is None:
            raise UserError(f"num_replaced is {self.num_replaced}, but the upstream has only {depth} layers")
        if layers and max(layers) > depth:
            raise UserError(f"layers names layer {max(layers)}, but the upstream has only {depth} layers")
        below = min(layers, default=depth + 1) - 1
        return below, tuple(sorted(layer - 1 - below for layer in layers))

    def place_intermediate(self, depth: int) -> dict[int, int]:
        """The layers of ``interctc_layer_idx`` in an upstream of ``depth`` layers.

        Returns:
            Their numbers by their indices among the layers above the cut, 0 = the lowest.

        Raises:
            UserError: one of them is not above the cut, or is the top one.
        """
        below, _ = self.place_cut(depth)
        for number in self.interctc_layer_idx or ():
            if not below < number < depth:
                between = f"{below + 1} to {depth - 1}" if below + 1 < depth else "none: raise num_replaced"
                raise UserError(
                    f"interctc_layer_idx names layer {number}: it is for layers above the cut and below the "
                    f"top one, whose CTC is the output's; those are {between}"
                )
        return {number - 1 - below: number for number in sorted(self.interctc_layer_idx or ())}


def _several(fits: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda values: isinstance(values, (list, tuple)) and len(values) > 0 and all(map(fits, values))


def _is_window(value: object) -> bool:
    ends = isinstance(value, (list, tuple)) and len(value) == 2 and all(type(end) is int for end in value)
    return ends and value[0] <= value[1]


_are_numbers = _several(lambda value: is_whole(value, 1))
FLAG = Rule(lambda value: isinstance(value, bool), "true or false")
# Of the fields of WsmConfig.
RULES = {
    "upstream": Rule(
        lambda value: isinstance(value, str),
        "a name or a path, in quotes where YAML reads it otherwise",
    ),
    "trust": FLAG,
    "num_replaced": count("a number of layers", 0),
    "layers": Rule(
        lambda value: value is None or (_are_numbers(value) and len(set(value)) == len(value)),
        "a list of different layer numbers from 1 (lowest), auto:K:PATH for the K that are the cheapest to "
        "replace by PATH, a heads.json of `espnet-wsm layers`, or null",
    ),
    "mixer": one_of(sorted(MIXER_NAMES)),
    "window": Rule(
        lambda value: _several(lambda each: is_whole(each, 0))([value] if isinstance(value, int) else value),
        "a number of frames, 0 or more, or a list of them",
    ),
    "width": Rule(
        lambda value: value is None or is_whole(value, 1), "a number of channels, 1 or more, or null"
    ),
    "heads": Rule(lambda value: is_whole(value, 1), "1 or more"),
    "dropout": Rule(lambda value: is_number(value) and 0 <= value < 1, "at least 0 and below 1"),
    "shared_projection": FLAG,
    "hidden": Rule(
        lambda value: value is None or _are_numbers(value),
        "a list of numbers of channels, each 1 or more, or null",
    ),
    "combine_activation": one_of(tuple(ACTIVATIONS)),
    "causal": FLAG,
    "windows": Rule(
        lambda value: (
            value is None
            or value == READ_OFF
            or is_whole(value, 0)
            or _several(_is_window)(value)
            or _several(_several(_is_window))(value)
        ),
        "attention, a list of [first, last] frames of each head, or such a list for each layer, a number of "
        "frames, the path of a heads.json, or null",
    ),
    "init": one_of(INITS),
    "key_weights": FLAG,
    "per_frame_width": Rule(
        lambda value: value is None or is_whole(value, 0), "a number of channels, 0 or more, or null"
    ),
    "global_summary": FLAG,
    "max_look_ahead": Rule(
        lambda value: value is None or is_whole(value, 0), "a number of frames, 0 or more, or null"
    ),
    "lora_rank": Rule(lambda value: is_whole(value, 1), "1 or more"),
    "lora_alpha": Rule(lambda value: is_number(value) and value > 0, "above 0"),
    "lora_kernel": Rule(lambda value: is_whole(value, 1) and value % 2 == 1, "an odd number of frames"),
    "pool": count("a number of frames", 1),
    "trainable": one_of(TRAINABLE),
    "features": one_of(FEATURES),
    "interctc_layer_idx": Rule(
        lambda value: (
            value is None
            or (isinstance(value, (list, tuple)) and not value)
            or (_are_numbers(value) and len(set(value)) == len(value))
        ),
        "a list of different layer numbers from 1 (lowest), or null",
    ),
    "interctc_use_conditioning": FLAG,
    "prefix_dtype": one_of(PREFIX_DTYPES),
    "suffix_dtype": one_of(SUFFIX_DTYPES),
    "recompute": one_of(RECOMPUTE),
    "exact_padding": FLAG,
}
