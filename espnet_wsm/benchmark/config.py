"""What a benchmark measures: the configuration files in conf/benchmark, read and checked."""

from collections.abc import Callable, Mapping
from dataclasses import MISSING, dataclass, field, fields
from pathlib import Path
from typing import Any

from espnet_wsm.arms import ARMS
from espnet_wsm.benchmark.ratios import OPTIONAL_PARTS, PARTS, RATIOS
from espnet_wsm.errors import UserError
from espnet_wsm.files import read_yaml
from espnet_wsm.rules import Rule, check, count, is_number, one_of, require

WAYS = ("today", "today_native", "transformers", "cut", "cached")
TRAINABLE = ("all", "transformer", "lora", "layer", "mixer", "head")
REMOVED = "none"  # the mixer of an arm whose last k layers are taken away
# An arm has the name of its mixer where nothing else is special to it; `drop` is REMOVED here.
MIXERS = (*(name for name, arm in ARMS.items() if arm.options["mixer"] == name != "drop"), REMOVED)
PLACES = ("reference", "lengths")
ARCHITECTURES = ("wav2vec2_base", "xls_r_300m", "whisper_base", "tiny")


def _is_finite(value: object) -> bool:
    return is_number(value) and value < float("inf")


def _number(expected: str, fits: Callable[[float], bool] = lambda value: value > 0) -> Rule:
    return Rule(lambda value: _is_finite(value) and fits(value), expected)


def _some_of(known: tuple[str, ...]) -> Rule:
    def fits(values: object) -> bool:
        different = isinstance(values, tuple) and len(set(map(str, values))) == len(values) > 0
        return different and all(value in known for value in values)

    return Rule(fits, f"some of {', '.join(known)}")


def _mapping(keys_fit: Callable[[set], bool], values: Rule, expected: str) -> Rule:
    def fits(value: object) -> bool:
        return isinstance(value, Mapping) and keys_fit(set(value)) and all(map(values.fits, value.values()))

    return Rule(fits, expected)


def _or_null(rule: Rule) -> Rule:
    return Rule(lambda value: value is None or rule.fits(value), f"null, or {rule.expected}")


def _key(rule: Rule, default: Any = MISSING, make: Any = MISSING) -> Any:
    """A field of a configuration, with its rule."""
    return field(default=default, default_factory=make, metadata={"rule": rule})


def _check_rules(config: object) -> None:
    """Turn lists into tuples, then refuse the first value that breaks its rule."""
    for each in fields(config):
        object.__setattr__(config, each.name, _as_tuples(getattr(config, each.name)))
        if rule := each.metadata.get("rule"):
            check(config, each.name, rule)


def _as_tuples(value: object) -> object:
    if isinstance(value, dict):
        return {key: _as_tuples(each) for key, each in value.items()}
    return tuple(value) if isinstance(value, list) else value


@dataclass(frozen=True)
class Arm:
    """One way to fine-tune.

    Args:
        way: ``today`` = ESPnet's ``S3prlFrontend`` on ``hf_wav2vec2_custom``, frozen by ``freeze_param``;
            ``today_native`` = the same on S3PRL's own ``wav2vec2_local``; ``transformers`` = its model, as
            ``Wav2Vec2ForCTC`` has it; ``cut`` = ``WsmS3prlEncoder`` on waveforms; ``cached`` = its suffix
            alone on stored features.
        mixer: what mixes in the last k layers, a key of ``espnet_wsm.upstream.MIXERS``, or ``none`` = those
            layers are removed.
        trainable: ``all`` parameters, the last k layers (``layer``), their mixing blocks (``mixer``), or the
            CTC ``head`` alone; with transformers also all but the convolutions (``transformer``), or PEFT's
            LoRA on queries and values of all layers (``lora``). The head trains in each.
        attention: implementation of the attention of all layers, ``sdpa`` or ``eager``.
        attention_dropout: of all layers, in training; None = the architecture's own.
        recompute: key of ``encoder_conf``; with transformers, ``layer`` is its gradient checkpointing.
        mixer_conf: what differs from that of the benchmark.
        measure: ``saved`` = bytes that autograd keeps, from one step; ``step`` = also the time of more of
            them; ``decode``. None = step and decode, for ``cached`` step.
        at: ``reference`` and ``lengths``, the points at which it takes part.
        longest_s: of the lengths, those up to this one; None = all.

    Raises:
        UserError: a value that cannot work, with the field and the value.
    """

    way: str = _key(one_of(WAYS))
    mixer: str = _key(one_of(MIXERS), "attention")
    trainable: str = _key(one_of(TRAINABLE), "layer")
    attention: str = _key(one_of(("sdpa", "eager")), "sdpa")
    attention_dropout: float | None = _key(
        _or_null(_number("at least 0 and below 1", lambda value: 0 <= value < 1)), None
    )
    recompute: str = _key(one_of(("auto", "none", "block", "layer")), "auto")
    mixer_conf: Mapping[str, Any] = field(default_factory=dict)
    measure: tuple[str, ...] | None = _key(_some_of(("saved", "step", "decode")), None)
    at: tuple[str, ...] = _key(_some_of(PLACES), PLACES)
    longest_s: float | None = _key(_or_null(_number("a number of seconds above 0")), None)

    def __post_init__(self) -> None:
        cached, removed, head = self.way == "cached", self.mixer == REMOVED, self.trainable == "head"
        if self.measure is None:
            object.__setattr__(self, "measure", ("step",) if cached else ("step", "decode"))
        _check_rules(self)
        elsewhere = ("mixer", "head") if self.way == "transformers" else ("transformer", "lora")
        possible = not (self.is_ours and self.trainable == "all") and not (cached and head)
        possible = possible and self.trainable not in elsewhere
        expected = (
            f"another value with way {self.way} and mixer {self.mixer}: below the cut nothing trains, "
            "features are cached for layers that train, and removed layers leave the head"
        )
        require(self, "trainable", possible and (head or not removed), expected)
        expected = "attention or none where the head alone trains"
        require(self, "mixer", not head or self.mixer in ("attention", REMOVED), expected)
        require(self, "way", not removed or self.way == "cut", "cut where layers are removed")
        expected = "without decode where features are cached: it costs what it costs with the cut"
        require(self, "measure", not cached or "decode" not in self.measure, expected)
        usual = self.attention == "sdpa" and self.attention_dropout is None
        expected = "left out with S3PRL's own upstream and with transformers"
        require(self, "attention", usual or self.way not in ("today_native", "transformers"), expected)
        expected = "attention with transformers"
        require(self, "mixer", self.way != "transformers" or self.mixer == "attention", expected)
        known = {"transformers": ("auto", "layer")}.get(self.way, ("auto",))
        require(self, "recompute", self.is_ours or self.recompute in known, f"{' or '.join(known)} here")

    @property
    def is_ours(self) -> bool:
        """Whether this project's code runs in it."""
        return self.way in ("cut", "cached")

    def inference_key(self) -> tuple[str, ...]:
        """Equal for arms that compute the same, in the same way, when they decode."""
        mixer = "attention" if self.mixer in ("random_attention", "reset") else self.mixer
        special = self.trainable == "lora", self.way == "cut" and self.trainable == "head"
        return self.way, mixer, self.attention, str(special), str(sorted(self.mixer_conf.items()))

    def takes_part(self, seconds: float, places: tuple[str, ...]) -> bool:
        """Whether it is measured at a point of that length that stands for those ``places``."""
        if "reference" in places and "reference" in self.at:
            return True
        fits = self.longest_s is None or seconds <= self.longest_s
        return fits and "lengths" in places and "lengths" in self.at

    def kinds(self) -> tuple[str, ...]:
        """``step`` and ``decode`` as far as they are measured; ``saved`` is read off the first step."""
        asked = {"step" if name == "saved" else name for name in self.measure}
        return tuple(kind for kind in ("step", "decode") if kind in asked)


@dataclass(frozen=True)
class Reference:
    """The point at which the ratios are taken: ``batch`` utterances of ``seconds`` each."""

    seconds: float = _key(_number("seconds, 0.1 or more", lambda value: value >= 0.1), 10.0)
    batch: int = _key(count("a number of utterances", 1), 4)

    def __post_init__(self) -> None:
        _check_rules(self)


LENGTHS = Rule(
    lambda values: (
        isinstance(values, tuple)
        and all(_is_finite(value) and value >= 0.1 for value in values)
        and list(values) == sorted(set(values))
    ),
    "a list of different numbers of seconds, 0.1 or more, the shortest first",
)
TOKENS_PER_SECOND = _number(
    "above 0 and at most 20: CTC needs more frames (50 a second) than tokens", lambda value: 0 < value <= 20
)
DTYPES = _some_of(("float32", "bfloat16"))
BAR = _number("a number above 0")


@dataclass(frozen=True)
class BenchmarkConfig:
    """One file of ``conf/benchmark``.

    Args:
        architecture: of the upstream, whose weights are random.
        arms: name -> :class:`Arm`.
        ratio_arms: part (reference, cut, attention_cut, cached, and those of ``OPTIONAL_PARTS``) -> arm.
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
        ratio_arms_other: reading -> the same as ``ratio_arms``, reported beside.
        bars: ratio -> its highest accepted value.

    Raises:
        UserError: a value that cannot work, with the field and the value.
    """

    architecture: str = _key(one_of(ARCHITECTURES))
    arms: Mapping[str, Arm] = _key(Rule(bool, "a mapping of at least one name to an arm"))
    ratio_arms: Mapping[str, str]
    lengths_s: tuple[float, ...] = _key(LENGTHS, (5, 10, 20, 40, 80, 160))
    reference: Reference = field(default_factory=Reference)
    num_replaced: int = _key(count("a number of layers", 1), 2)
    mixer_conf: Mapping[str, Any] = field(default_factory=lambda: {"window": 10, "width": 256})
    vocab_size: int = _key(count("a number of tokens", 2), 50)
    tokens_per_second: float = _key(TOKENS_PER_SECOND, 12.0)
    device: str = _key(one_of(("auto", "cpu", "cuda")), "auto")
    dtypes: Mapping[str, tuple[str, ...]] = _key(
        _mapping({"cpu", "cuda"}.__eq__, DTYPES, f"cpu and cuda, each with {DTYPES.expected}"),
        make=lambda: {"cpu": ("float32",), "cuda": ("float32", "bfloat16")},
    )
    threads: int | None = _key(_or_null(count("a number of threads", 1)), None)
    seed: int = _key(count("a whole number", 0), 0)
    rounds: int = _key(count("a number of measurements", 0), 5)
    seconds_per_point: float = _key(_number("a number of seconds above 0"), 60.0)
    minutes: float = _key(_number("a number of minutes above 0"), 45.0)
    ratio_arms_other: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    bars: Mapping[str, float] = _key(
        _mapping(set(RATIOS).issuperset, BAR, f"some of {', '.join(RATIOS)}, each with {BAR.expected}"),
        make=dict,
    )

    def __post_init__(self) -> None:
        from espnet_wsm.upstream import WsmConfig  # takes seconds

        _check_rules(self)
        parts = {*PARTS, *OPTIONAL_PARTS}
        expected = f"{', '.join(PARTS)}, each with the name of an arm ({', '.join(self.arms)})"
        reading = _mapping(lambda names: set(PARTS) <= names <= parts, one_of(self.arms), expected)
        check(self, "ratio_arms", reading)
        check(self, "ratio_arms_other", _mapping(lambda _: True, reading, f"readings, each with {expected}"))
        taken = {"upstream", "trust", "layers", "num_replaced", "mixer", "trainable"}
        known = {each.name for each in fields(WsmConfig)} - taken
        expected = f"some of {', '.join(sorted(known))}"
        blocks = _mapping(known.issuperset, Rule(lambda _: True, ""), expected)
        check(self, "mixer_conf", blocks)
        WsmConfig("upstream", num_replaced=self.num_replaced, **self.mixer_conf)
        for name, arm in self.arms.items():
            try:
                check(arm, "mixer_conf", blocks)
                WsmConfig("upstream", **{**self.mixer_conf, **arm.mixer_conf})
            except UserError as error:
                raise UserError(f"arm {name}: {error}") from error


def read_config(path: Path) -> BenchmarkConfig:
    """Read and check a configuration file.

    Raises:
        UserError: the file cannot be read, or holds a value that cannot work; names file, field and value.
    """
    raw = read_yaml(path)
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
    if not isinstance(arms := values["arms"], dict):
        raise UserError(f"arms has to be a mapping of names to arms, got {arms!r}")
    values["arms"] = {str(name): _build(Arm, arm, f"arm {name}") for name, arm in arms.items()}
    if "reference" in values:
        values["reference"] = _build(Reference, values["reference"], "reference")
    return BenchmarkConfig(**values)


def _build(cls: type, raw: object, where: str) -> Any:
    values = _select(cls, raw, where)
    try:
        return cls(**values)
    except UserError as error:
        raise UserError(f"{where}: {error}") from error


def _select(cls: type, raw: object, where: str) -> dict[str, Any]:
    """``raw`` as keyword arguments of the dataclass ``cls``."""
    known = {f.name: f.default is MISSING and f.default_factory is MISSING for f in fields(cls)}
    if not isinstance(raw, dict):
        raise UserError(f"{where} has to be a mapping of {', '.join(known)}, got {raw!r}")
    if unknown := [str(key) for key in raw if key not in known]:
        raise UserError(f"{where} has no key {', '.join(unknown)}; the keys are {', '.join(known)}")
    if missing := [name for name, required in known.items() if required and name not in raw]:
        raise UserError(f"{where} lacks {', '.join(missing)}")
    return dict(raw)
