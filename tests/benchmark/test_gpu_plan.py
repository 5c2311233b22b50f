"""What a check of a GPU runs, and what it brings along."""

import re
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from espnet_wsm.benchmark.gpu.plan import BUILDS, DEVICE_TESTS, DRY_RUN, FULL, WAYS

ROOT = Path(__file__).parents[2]


USES_DEVICE = re.compile(r"^@pytest\.mark\.cuda\b|^def \w+\([^)]*\bdevice\b", re.MULTILINE)


def test_every_test_with_a_device_is_run():
    of_devices = {
        str(file.relative_to(ROOT))
        for file in (ROOT / "tests").rglob("test_*.py")
        if file != Path(__file__) and USES_DEVICE.search(file.read_text())
    }
    assert of_devices == set(DEVICE_TESTS)


def test_what_is_measured_first_is_two_layers_of_every_upstream():
    builds = FULL.builds()
    assert len(set(builds)) == len(builds) == 3 * 2 * 2 * 2
    assert {build.num_replaced for build in builds[:8]} == {2}
    assert {build.architecture for build in builds[:8]} == {"wav2vec2_base", "xls_r_300m"}
    assert [way for ways in BUILDS.values() for way in ways] == list(WAYS)


def test_only_the_first_k_has_every_precision():
    first, last = FULL.builds()[0], FULL.builds()[-1]
    assert {dtype for _, dtype in FULL.points(first)} == {"bfloat16", "float32"}
    assert [seconds for seconds, _ in FULL.points(last)] == [5, 10, 20, 40, 80, 160]
    assert {dtype for _, dtype in FULL.points(last)} == {"bfloat16"}


def test_a_dry_run_has_every_way_and_needs_no_gpu():
    assert DRY_RUN.device == "cpu" and {build.way for build in DRY_RUN.builds()} == set(BUILDS)
    assert {build.mixer for build in DRY_RUN.builds()} == set(FULL.mixers)


def read_requirements(text: str) -> dict[str, Requirement]:
    found = [Requirement(line) for line in text.splitlines() if line and not line.startswith("#")]
    return {re.sub(r"[-_.]+", "-", each.name).lower(): each for each in found}


WHEELS = read_requirements((ROOT / "tools/gpu_check_wheels.txt").read_text())


@pytest.mark.parametrize("name", list(WHEELS))
def test_wheels_are_pinned_within_what_the_package_asks_for(name):
    (pin,) = WHEELS[name].specifier
    assert pin.operator == "=="
    lines = re.findall(r'^    "([^"]+)",$', (ROOT / "setup.py").read_text(), re.MULTILINE)
    asked = read_requirements("\n".join(line for line in lines if not line.startswith("espnet_wsm")))
    if name in asked:
        assert asked[name].specifier.contains(pin.version)


def test_neither_torch_nor_cuda_is_among_the_wheels():
    assert not [name for name in WHEELS if re.match("torch$|torchaudio|nvidia|cuda|triton", name)]
    assert {"espnet", "espnet-s3prl", "transformers"} <= set(WHEELS)
