"""What a benchmark measures: the configuration files in conf/benchmark, read and checked."""

from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field, fields
from pathlib import Path
from typing import Any

import yaml

from espnet_wsm.errors import UserError

WAYS = ("today", "today_native", "cut", "cached")
TRAINABLE = ("all", "layer", "mixer", "head")
ATTENTION = ("sdpa", "eager")
MEASURES = ("saved", "step", "decode")
PLACES = ("reference", "lengths")
DEVICES = ("auto", "cpu", "cuda")
DTYPES = ("float32", "bfloat16")
ARCHITECTURES = ("wav2vec2_base", "xls_r_300m", "tiny")
REMOVED = "none"  # the mixer of an arm whose last k layers are taken away
# Each ratio and the arms that it needs, by their part in `ratio_arms`.
RATIOS = {
    "saved_bytes_cut": ("cut", "reference"),
    "saved_bytes_wsm_vs_attention_cut": ("cut", "attention_cut"),
    "step_cut": ("cut", "reference"),
    "step_cached": ("cached", "reference"),
    "checkpoint_bytes": ("cut", "reference"),
    "growth_exponent": ("cached",),
}
PARTS = ("reference", "cut", "attention_cut", "cached")


@dataclass(frozen=True)
class Arm:
    """One way to fine-tune.

    Args:
        way: ``today`` = ESPnet's ``S3prlFrontend`` on ``hf_wav2vec2_custom``, frozen by ``freeze_param``;
            ``today_native`` = the same on S3PRL's own ``wav2vec2_local``; ``cut`` = ``WsmS3prlEncoder`` on
            waveforms; ``cached`` = its suffix alone on stored features.
        mixer: what mixes in the last k layers, a key of ``espnet_wsm.upstream.MIXERS``, or ``none`` = those
            layers are removed.
        trainable: ``all`` parameters, the last k layers (``layer``), their mixing blocks (``mixer``), or the
            CTC ``head`` alone. The head trains in each.
        attention: implementation of the attention of all layers, ``sdpa`` or ``eager``.
        attention_dropout: of all layers, in training; None = the architecture's own.
        measure: ``saved`` = bytes that autograd keeps, from one step; ``step`` = also the time of more of
            them; ``decode``. None = step and decode, for ``cached`` step.
        at: ``reference`` and ``lengths``, the points at which it takes part.
        longest_s: of the lengths, those up to this one; None = all.

    Raises:
        UserError: a value that cannot work, with the field and the value.
    """

    way: str
    mixer: str = "attention"
    trainable: str = "layer"
    attention: str = "sdpa"
    attention_dropout: float | None = None
    measure: tuple[str, ...] | None = None
    at: tuple[str, ...] = PLACES
    longest_s: float | None = None

    def __post_init__(self) -> None:
        if self.measure is None:
            object.__setattr__(self, "measure", ("step",) if self.way == "cached" else ("step", "decode"))
        for name in ("measure", "at"):
            object.__setattr__(self, name, _as_tuple(getattr(self, name)))
        mixers = (*_mixers(), REMOVED)
        _check(
            self,
            {
                "way": (self.way in WAYS, f"one of {', '.join(WAYS)}"),
                "mixer": (self.mixer in mixers, f"one of {', '.join(mixers)}"),
                "trainable": (self.trainable in TRAINABLE, f"one of {', '.join(TRAINABLE)}"),
                "attention": (self.attention in ATTENTION, f"one of {', '.join(ATTENTION)}"),
                "attention_dropout": (
                    self.attention_dropout is None
                    or (_is_number(self.attention_dropout) and 0 <= self.attention_dropout < 1),
                    "null, or at least 0 and below 1",
                ),
                "measure": (_are_some_of(self.measure, MEASURES), f"some of {', '.join(MEASURES)}"),
                "at": (_are_some_of(self.at, PLACES), f"some of {', '.join(PLACES)}"),
                "longest_s": (
                    self.longest_s is None or (_is_number(self.longest_s) and self.longest_s > 0),
                    "null, or a number of seconds above 0",
                ),
            },
        )
        self._check_combination()

    def _check_combination(self) -> None:
        native = self.way == "today_native"
        default_attention = self.attention == "sdpa" and self.attention_dropout is None
        _check(
            self,
            {
                "trainable": (
                    not (self.trainable == "all" and self.way in ("cut", "cached"))
                    and not (self.trainable == "head" and self.way == "cached")
                    and (self.mixer != REMOVED or self.trainable == "head"),
                    f"another value with way {self.way} and mixer {self.mixer}: below the cut nothing "
                    "trains, features are cached for layers that train, and removed layers leave the head",
                ),
                "mixer": (
                    self.trainable != "head" or self.mixer in ("attention", REMOVED),
                    "attention or none where the head alone trains",
                ),
                "way": (self.mixer != REMOVED or self.way == "cut", "cut where layers are removed"),
                "measure": (
                    self.way != "cached" or "decode" not in self.measure,
                    "without decode where features are cached: it costs what it costs with the cut",
                ),
                "attention": (not native or default_attention, "left out with S3PRL's own upstream"),
            },
        )

    @property
    def is_ours(self) -> bool:
        """Whether this project's code runs in it."""
        return self.way in ("cut", "cached")

    def inference_key(self) -> tuple[str, ...]:
        """Equal for arms that compute the same, in the same way, when they decode."""
        mixer = "attention" if self.mixer in ("random_attention", "reset") else self.mixer
        return self.way, mixer, self.attention, str(self.way == "cut" and self.trainable == "head")

    def takes_part(self, seconds: float, places: tuple[str, ...]) -> bool:
        """Whether it is measured at a point of that length that stands for those ``places``."""
        if "reference" in places and "reference" in self.at:
            return True
        fits = self.longest_s is None or seconds <= self.longest_s
        return fits and "lengths" in places and "lengths" in self.at

    def kinds(self) -> tuple[str, ...]:
        """``step`` and ``decode`` as far as they are measured; ``saved`` is read off the first step."""
        return tuple(
            kind
            for kind, asked in (("step", {"saved", "step"}), ("decode", {"decode"}))
            if asked & set(self.measure)
        )


@dataclass(frozen=True)
class Reference:
    """The point at which the ratios are taken: ``batch`` utterances of ``seconds`` each."""

    seconds: float = 10.0
    batch: int = 4

    def __post_init__(self) -> None:
        _check(
            self,
            {
                "seconds": (_is_number(self.seconds) and self.seconds >= 0.1, "seconds, 0.1 or more"),
                "batch": (_is_count(self.batch, 1), "a number of utterances, 1 or more"),
            },
        )


@dataclass(frozen=True)
class BenchmarkConfig:
    """One file of ``conf/benchmark``.

    Args:
        architecture: of the upstream, whose weights are random.
        arms: name -> :class:`Arm`.
        lengths_s: seconds of audio, each measured with one utterance a batch.
        reference: the point of the ratios.
        num_replaced: k, layers counted from the top.
        mixer_conf: ``window``, ``width``, ... of ``encoder_conf``.
        vocab_size: outputs of the CTC head.
        tokens_per_second: length of the transcripts.
        device: ``auto`` = an NVIDIA GPU where there is one.
        dtypes: device -> precisions, ``float32`` and ``bfloat16`` (autocast); ratios are those of the first.
        threads: of each worker on the CPU; None = torch's default.
        seed: of weights, waveforms, dropout and the order of arms.
        rounds: measurements of each arm at each point, after a first one at every point that also counts
            saved bytes; those at the reference come first.
        seconds_per_point: another measurement of an arm at a point is only begun if it ends within this.
        minutes: nothing is begun that would end later; what is left out is named in the result.
        ratio_arms: part (reference, cut, attention_cut, cached) -> arm.
        ratio_arms_other: reading -> the same, reported beside.
        bars: ratio -> its highest accepted value.

    Raises:
        UserError: a value that cannot work, with the field and the value.
    """

    architecture: str
    arms: Mapping[str, Arm]
    ratio_arms: Mapping[str, str]
    lengths_s: tuple[float, ...] = (5, 10, 20, 40, 80, 160)
    reference: Reference = field(default_factory=Reference)
    num_replaced: int = 2
    mixer_conf: Mapping[str, Any] = field(default_factory=lambda: {"window": 10, "width": 256})
    vocab_size: int = 50
    tokens_per_second: float = 12.0
    device: str = "auto"
    dtypes: Mapping[str, tuple[str, ...]] = field(
        default_factory=lambda: {"cpu": ("float32",), "cuda": ("float32", "bfloat16")}
    )
    threads: int | None = None
    seed: int = 0
    rounds: int = 5
    seconds_per_point: float = 60.0
    minutes: float = 45.0
    ratio_arms_other: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    bars: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "lengths_s", _as_tuple(self.lengths_s))
        _check(
            self,
            {
                "architecture": (self.architecture in ARCHITECTURES, f"one of {', '.join(ARCHITECTURES)}"),
                "arms": (bool(self.arms), "a mapping of at least one name to an arm"),
                "lengths_s": (
                    isinstance(self.lengths_s, tuple)
                    and all(_is_number(s) and s >= 0.1 for s in self.lengths_s)
                    and list(self.lengths_s) == sorted(set(self.lengths_s)),
                    "a list of different numbers of seconds, 0.1 or more, the shortest first",
                ),
                "num_replaced": (_is_count(self.num_replaced, 1), "a number of layers, 1 or more"),
                "vocab_size": (_is_count(self.vocab_size, 2), "2 or more"),
                "tokens_per_second": (
                    _is_number(self.tokens_per_second) and 0 < self.tokens_per_second <= 20,
                    "above 0 and at most 20: CTC needs more frames (50 a second) than tokens",
                ),
                "device": (self.device in DEVICES, f"one of {', '.join(DEVICES)}"),
                "threads": (
                    self.threads is None or _is_count(self.threads, 1),
                    "null, or a number of threads, 1 or more",
                ),
                "seed": (_is_count(self.seed, 0), "a whole number, 0 or more"),
                "rounds": (_is_count(self.rounds, 0), "a number of measurements, 0 or more"),
                "seconds_per_point": (
                    _is_number(self.seconds_per_point) and self.seconds_per_point > 0,
                    "a number of seconds above 0",
                ),
                "minutes": (_is_number(self.minutes) and self.minutes > 0, "a number of minutes above 0"),
            },
        )
        self._check_dtypes()
        self._check_ratios()
        self._check_mixers()

    def _check_dtypes(self) -> None:
        fits = isinstance(self.dtypes, Mapping) and set(self.dtypes) == {"cpu", "cuda"}
        if fits:
            object.__setattr__(self, "dtypes", {k: _as_tuple(v) for k, v in self.dtypes.items()})
            fits = all(_are_some_of(names, DTYPES) for names in self.dtypes.values())
        expected = f"cpu and cuda, each with some of {', '.join(DTYPES)}"
        _check(self, {"dtypes": (fits, expected)})

    def _check_ratios(self) -> None:
        def names_arms(value: object) -> bool:
            return (
                isinstance(value, Mapping)
                and set(value) == set(PARTS)
                and all(isinstance(arm, str) and arm in self.arms for arm in value.values())
            )

        expected = f"{', '.join(PARTS)}, each with the name of an arm ({', '.join(self.arms)})"
        _check(
            self,
            {
                "ratio_arms": (names_arms(self.ratio_arms), expected),
                "ratio_arms_other": (
                    isinstance(self.ratio_arms_other, Mapping)
                    and all(names_arms(value) for value in self.ratio_arms_other.values()),
                    f"readings, each with {expected}",
                ),
                "bars": (
                    isinstance(self.bars, Mapping)
                    and set(self.bars) <= set(RATIOS)
                    and all(_is_number(bar) and bar > 0 for bar in self.bars.values()),
                    f"some of {', '.join(RATIOS)}, each with a number above 0",
                ),
            },
        )

    def _check_mixers(self) -> None:
        from espnet_wsm.upstream import WsmConfig  # takes seconds

        taken = {"upstream", "trust", "layers", "num_replaced", "mixer", "trainable"}
        known = {f.name for f in fields(WsmConfig)} - taken
        fits = isinstance(self.mixer_conf, Mapping) and set(self.mixer_conf) <= known
        _check(self, {"mixer_conf": (fits, f"some of {', '.join(sorted(known))}")})
        WsmConfig("upstream", num_replaced=self.num_replaced, **self.mixer_conf)


def read_config(path: Path) -> BenchmarkConfig:
    """Read and check a configuration file.

    Raises:
        UserError: the file cannot be read, or holds a value that cannot work; names file, field and value.
    """
    try:
        raw = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path} cannot be read: {error}") from error
    except yaml.YAMLError as error:
        raise UserError(f"{path} is not YAML: {error}") from error
    try:
        return config_from_dict(raw)
    except UserError as error:
        raise UserError(f"{path}: {error}") from error


def config_from_dict(raw: object) -> BenchmarkConfig:
    """Build a configuration from what YAML gave.

    Raises:
        UserError: as :func:`read_config`, without the file.
    """
    values = _select(BenchmarkConfig, raw, "the configuration")
    arms = values["arms"]
    if not isinstance(arms, dict):
        raise UserError(f"arms has to be a mapping of names to arms, got {arms!r}")
    values["arms"] = {str(name): _build(Arm, arm, f"arm {name}") for name, arm in arms.items()}
    if "reference" in values:
        values["reference"] = _build(Reference, values["reference"], "reference")
    return BenchmarkConfig(**values)


def _build(cls: type, raw: object, where: str) -> Any:
    try:
        return cls(**_select(cls, raw, where))
    except UserError as error:
        message = str(error)
        raise UserError(message if message.startswith(where) else f"{where}: {message}") from error


def _select(cls: type, raw: object, where: str) -> dict[str, Any]:
    """``raw`` as keyword arguments of the dataclass ``cls``."""
    known = [f.name for f in fields(cls)]
    if not isinstance(raw, dict):
        raise UserError(f"{where} has to be a mapping of {', '.join(known)}, got {raw!r}")
    unknown = [str(key) for key in raw if key not in known]
    if unknown:
        raise UserError(f"{where} has no key {', '.join(unknown)}; the keys are {', '.join(known)}")
    required = [f.name for f in fields(cls) if f.default is MISSING and f.default_factory is MISSING]
    missing = [name for name in required if name not in raw]
    if missing:
        raise UserError(f"{where} lacks {', '.join(missing)}")
    return dict(raw)


def _check(config: object, checks: Mapping[str, tuple[bool, str]]) -> None:
    for name, (fits, expected) in checks.items():
        if not fits:
            raise UserError(f"{name} has to be {expected}, got {getattr(config, name)!r}")


def _mixers() -> tuple[str, ...]:
    from espnet_wsm.upstream import MIXERS  # takes seconds

    return tuple(MIXERS)


def _as_tuple(value: object) -> object:
    return tuple(value) if isinstance(value, list) else value


def _are_some_of(values: object, known: tuple[str, ...]) -> bool:
    return (
        isinstance(values, tuple)
        and len(values) > 0
        and len(set(values)) == len(values)
        and all(isinstance(value, str) and value in known for value in values)
    )


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and value < float("inf")


def _is_count(value: object, least: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= least
