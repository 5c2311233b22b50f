"""What is replaced, by what, and what of it trains."""

from collections.abc import Sequence
from dataclasses import dataclass, fields

from espnet_wsm.errors import UserError
from espnet_wsm.mixing.block import ACTIVATIONS
from espnet_wsm.upstream.mixers import MIXER_NAMES

TRAINABLE = ("layer", "mixer", "suffix")
FEATURES = ("last", "weighted_sum")
PREFIX_DTYPES = ("float32", "float16", "bfloat16")
SUFFIX_DTYPES = ("float32", "bfloat16", "auto")


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
            lowest of them.
        mixer: what replaces their self-attention, a key of ``espnet_wsm.upstream.MIXERS``; or ``drop``, which
            removes these layers altogether.
        window: half width of the local summary in frames of 20 ms, or several of them.
        width: channels of the block's projections; None = those of the model.
        heads: blocks of the block-diagonal projections.
        dropout: inside the block, 0 to 1.
        shared_projection: whether local and global summaries share one projection.
        hidden: channels of hidden layers in f and s, before their output; None = no hidden layer. The authors
            of SummaryMixing have one of 512.
        combine_activation: what follows c, ``none`` or ``gelu`` (as in the authors' SummaryMixing).
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
        prefix_dtype: precision of the frozen layers, independent of the precision of training (including
            autocast), so that stored and freshly computed features agree. Half precision halves their memory.
        suffix_dtype: precision of the matrix products above the cut, in training and decoding. float32 leaves
            this to ESPnet's ``use_amp``, which supports only CUDA. bfloat16 trains faster on processors that
            have instructions for it, and fifty times slower on a CPU without them; auto takes it where it
            is fast (``espnet_wsm.upstream.choose_dtype``).
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
    lora_rank: int = 8
    lora_alpha: float = 16.0
    lora_kernel: int = 15
    pool: int = 4
    trainable: str = "layer"
    features: str = "last"
    prefix_dtype: str = "float32"
    suffix_dtype: str = "float32"
    exact_padding: bool = True

    @classmethod
    def from_dict(cls, conf: dict) -> "WsmConfig":
        """Build from a YAML mapping; an unknown key, or none for the upstream, is an error."""
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
        return cls(**conf)

    def __post_init__(self) -> None:
        windows = [self.window] if isinstance(self.window, int) else self.window
        checks = {
            "upstream": (
                isinstance(self.upstream, str),
                "a name or a path, in quotes where YAML reads it otherwise",
            ),
            "trust": (isinstance(self.trust, bool), "true or false"),
            "num_replaced": (_is_count(self.num_replaced, 0), "a number of layers, 0 or more"),
            "layers": (
                self.layers is None
                or (
                    isinstance(self.layers, (list, tuple))
                    and len(self.layers) > 0
                    and all(_is_count(layer, 1) for layer in self.layers)
                    and len(set(self.layers)) == len(self.layers)
                ),
                "a list of different layer numbers from 1 (lowest), or null",
            ),
            "mixer": (
                isinstance(self.mixer, str) and self.mixer in MIXER_NAMES,
                f"one of {', '.join(sorted(MIXER_NAMES))}",
            ),
            "window": (
                isinstance(windows, (list, tuple))
                and len(windows) > 0
                and all(_is_count(w, 0) for w in windows),
                "a number of frames, 0 or more, or a list of them",
            ),
            "width": (
                self.width is None or _is_count(self.width, 1),
                "a number of channels, 1 or more, or null",
            ),
            "heads": (_is_count(self.heads, 1), "1 or more"),
            "dropout": (_is_number(self.dropout) and 0 <= self.dropout < 1, "at least 0 and below 1"),
            "shared_projection": (isinstance(self.shared_projection, bool), "true or false"),
            "hidden": (
                self.hidden is None
                or (
                    isinstance(self.hidden, (list, tuple))
                    and len(self.hidden) > 0
                    and all(_is_count(size, 1) for size in self.hidden)
                ),
                "a list of numbers of channels, each 1 or more, or null",
            ),
            "combine_activation": (
                isinstance(self.combine_activation, str) and self.combine_activation in ACTIVATIONS,
                f"one of {', '.join(ACTIVATIONS)}",
            ),
            "lora_rank": (_is_count(self.lora_rank, 1), "1 or more"),
            "lora_alpha": (_is_number(self.lora_alpha) and self.lora_alpha > 0, "above 0"),
            "lora_kernel": (
                _is_count(self.lora_kernel, 1) and self.lora_kernel % 2 == 1,
                "an odd number of frames",
            ),
            "pool": (_is_count(self.pool, 1), "a number of frames, 1 or more"),
            "trainable": (self.trainable in TRAINABLE, f"one of {', '.join(TRAINABLE)}"),
            "features": (self.features in FEATURES, f"one of {', '.join(FEATURES)}"),
            "prefix_dtype": (self.prefix_dtype in PREFIX_DTYPES, f"one of {', '.join(PREFIX_DTYPES)}"),
            "suffix_dtype": (self.suffix_dtype in SUFFIX_DTYPES, f"one of {', '.join(SUFFIX_DTYPES)}"),
            "exact_padding": (isinstance(self.exact_padding, bool), "true or false"),
        }
        for field, (fits, expected) in checks.items():
            if not fits:
                raise UserError(f"{field} has to be {expected}, got {getattr(self, field)!r}")

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


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _is_count(value: object, least: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= least
