"""What is replaced, by what, and what of it trains."""

from collections.abc import Sequence
from dataclasses import dataclass, fields

from espnet_wsm.errors import UserError
from espnet_wsm.upstream.mixers import MIXERS

TRAINABLE = ("layer", "mixer")
FEATURES = ("last", "weighted_sum")
PREFIX_DTYPES = ("float32", "float16", "bfloat16")


@dataclass(frozen=True)
class WsmConfig:
    """The ``encoder_conf`` of the encoder ``wsm_s3prl``.

    Args:
        upstream: S3PRL's name of the upstream, e.g. ``hf_hubert_custom``, ``wav2vec2_local``, ``xls_r_300m``.
        path: checkpoint of an upstream whose name ends in ``_custom`` or ``_local``: a directory written by
            ``save_pretrained`` for ``hf_*``, a converted ``.pt`` file for the native ones.
        num_replaced: k, the number of layers counted from the top whose self-attention is replaced.
        mixer: what takes its place, a key of ``espnet_wsm.upstream.MIXERS``.
        window: half width of the local summary in frames of 20 ms, or several of them.
        width: channels of the block's projections; None = those of the model.
        heads: blocks of the block-diagonal projections.
        dropout: inside the block, 0 to 1.
        shared_projection: whether local and global summaries share one projection.
        trainable: ``layer`` trains the k layers and the norm above them, ``mixer`` their mixing block alone.
            The paper can be read both ways; the default is our choice.
        features: ``last`` hands on the output of the last layer, ``weighted_sum`` a learned mean of the
            states below, between and above all layers (SUPERB, arXiv 2105.01051).
        prefix_dtype: precision of the frozen layers, whatever that of the training (autocast included), so
            that stored and fresh features agree. Half precision halves their memory.

    Raises:
        UserError: a value that cannot work, with the field and the value.
    """

    upstream: str
    path: str | None = None
    num_replaced: int = 2
    mixer: str = "wsm"
    window: int | Sequence[int] = 10
    width: int | None = None
    heads: int = 1
    dropout: float = 0.0
    shared_projection: bool = True
    trainable: str = "layer"
    features: str = "last"
    prefix_dtype: str = "float32"

    @classmethod
    def from_dict(cls, conf: dict) -> "WsmConfig":
        """Build from a YAML mapping; an unknown or missing key is an error that lists the known ones."""
        known = [field.name for field in fields(cls)]
        unknown = sorted(set(conf) - set(known))
        if unknown:
            raise UserError(f"encoder_conf has no key {', '.join(unknown)}; the keys are {', '.join(known)}")
        if not conf.get("upstream"):
            raise UserError(
                "encoder_conf needs 'upstream', S3PRL's name of the upstream, e.g. hf_hubert_custom"
            )
        return cls(**conf)

    def __post_init__(self) -> None:
        windows = [self.window] if isinstance(self.window, int) else self.window
        checks = {
            "upstream": (isinstance(self.upstream, str), "a name, in quotes where YAML reads it otherwise"),
            "path": (
                self.path is None or isinstance(self.path, str),
                "a path, in quotes where YAML reads it otherwise",
            ),
            "num_replaced": (_is_count(self.num_replaced, 1), "a number of layers, 1 or more"),
            "mixer": (
                isinstance(self.mixer, str) and self.mixer in MIXERS,
                f"one of {', '.join(sorted(MIXERS))}",
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
            "trainable": (self.trainable in TRAINABLE, f"one of {', '.join(TRAINABLE)}"),
            "features": (self.features in FEATURES, f"one of {', '.join(FEATURES)}"),
            "prefix_dtype": (self.prefix_dtype in PREFIX_DTYPES, f"one of {', '.join(PREFIX_DTYPES)}"),
        }
        for field, (fits, expected) in checks.items():
            if not fits:
                raise UserError(f"{field} has to be {expected}, got {getattr(self, field)!r}")


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _is_count(value: object, least: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= least
