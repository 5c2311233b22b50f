"""What a check of a GPU runs and measures, in the order in which it is given up when time runs out."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

# Ways to fine-tune, each with what it is called in tables. What has the cut is built once, for both.
WAYS = {"today": "today (S3prlFrontend)", "cut": "cut", "cached": "cut + cache"}
BUILDS = {"today": ("today",), "cut": ("cut", "cached")}

# Tests with a device, see the fixture of that name in tests/conftest.py.
DEVICE_TESTS = (
    "tests/mixing/test_block_devices.py",
    "tests/plugin/test_encoder_devices.py",
    "tests/recognition/test_transcriber_devices.py",
)


@dataclass(frozen=True)
class Build:
    """One model to build, and the ways that are measured on it.

    Args:
        architecture: of the upstream.
        num_replaced: k, layers counted from the top; None = all of them.
        mixer: what mixes in them, ``wsm`` or ``attention`` (SDPA); these layers and the head train.
        way: ``today``, or ``cut``, which then stands for both the cut and the cut with a cache.
    """

    architecture: str
    num_replaced: int | None
    mixer: str
    way: str

    def key(self, way: str) -> dict[str, Any]:
        """What a measurement says of its arm."""
        k = "all" if self.num_replaced is None else self.num_replaced
        return {"architecture": self.architecture, "k": k, "mixer": self.mixer, "way": way}

    def request(self) -> dict[str, Any]:
        """What asks the upstream's process to build it."""
        return {"do": "build", "way": self.way, "mixer": self.mixer, "num_replaced": self.num_replaced}


@dataclass(frozen=True)
class CheckPlan:
    """What a check does.

    Args:
        device: ``cuda``, or ``cpu`` for a dry run.
        architectures: of upstreams, the first is measured first.
        replaced: values of k, the most important first; None = all layers.
        lengths_s: seconds of audio, each measured with one utterance a batch.
        dtypes: precisions of the first k (``float32``, or ``bfloat16`` by autocast); the others, and the
            largest batch, have the first precision alone.
        rounds: timed steps of each arm at each length, after two that warm up.
        seconds_per_point: no further round is begun after so many seconds.
        utterance_s: length of the utterances of the largest batch.
        card_bytes: memory of the card on which that batch has to fit.
        tolerance: the search for it ends when it is known this closely, relative to itself.
        trials: and at the latest after so many batches.
        tests: files of the tests with a device.
        tests_share: of the time, which the tests may take at most.
    """

    device: str = "cuda"
    architectures: tuple[str, ...] = ("wav2vec2_base", "xls_r_300m")
    replaced: tuple[int | None, ...] = (2, None, 4)
    mixers: tuple[str, ...] = ("wsm", "attention")
    lengths_s: tuple[float, ...] = (5, 10, 20, 40, 80, 160)
    dtypes: tuple[str, ...] = ("bfloat16", "float32")
    rounds: int = 5
    seconds_per_point: float = 1.0
    utterance_s: float = 10.0
    card_bytes: int = 24_000_000_000
    tolerance: float = 0.04
    trials: int = 7
    tests: tuple[str, ...] = DEVICE_TESTS
    tests_share: float = 0.3

    def builds(self) -> list[Build]:
        """All models, the most important first."""
        return [
            Build(architecture, k, mixer, way)
            for k in self.replaced
            for architecture in self.architectures
            for mixer in self.mixers
            for way in BUILDS
        ]

    def points(self, build: Build) -> Iterator[tuple[float, str]]:
        """Lengths and precisions at which its ways are measured."""
        dtypes = self.dtypes if build.num_replaced == self.replaced[0] else self.dtypes[:1]
        return ((seconds, dtype) for dtype in dtypes for seconds in self.lengths_s)


FULL = CheckPlan()
# Every part at toy size on a CPU, in under a minute: to see that the command works where there is no GPU.
DRY_RUN = CheckPlan(
    device="cpu",
    architectures=("tiny",),
    replaced=(2, None),
    lengths_s=(0.5, 1),
    rounds=1,
    utterance_s=0.5,
    card_bytes=4_000_000,
    tests=("tests/mixing/test_block_devices.py",),
)
