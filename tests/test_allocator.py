"""Memory that is kept."""

import gc
import os
import platform
import subprocess
import sys

import pytest

from espnet_wsm.allocator import SETTINGS, uncollected

PAGES = 2**26 // 4096
CODE = f"""
import ctypes, resource, sys
from espnet_wsm.allocator import keep_memory
if "keep" in sys.argv:
    assert keep_memory()
libc = ctypes.CDLL(None)
libc.malloc.restype = ctypes.c_void_p
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(10):
    block = libc.malloc(ctypes.c_size_t({2**26}))
    for place in range(0, {2**26}, 4096):
        ctypes.c_char.from_address(block + place).value = b"x"
    libc.free(ctypes.c_void_p(block))
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def count_faults(*arguments: str, **environment: str) -> int:
    command = [sys.executable, "-c", CODE, *arguments]
    result = subprocess.run(command, capture_output=True, text=True, check=True, env=environment or None)
    return int(result.stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the C library is not glibc")
def test_memory_that_was_freed_is_used_again_without_a_page_fault():
    with_it, without = count_faults("keep"), count_faults()
    assert without > 9 * PAGES and with_it < 2 * PAGES


def test_what_the_environment_says_counts_more(monkeypatch):
    from espnet_wsm import allocator

    calls = []

    class Library:
        def mallopt(self, number: int, value: int) -> int:
            calls.append((number, value))
            return 1

    monkeypatch.setattr(allocator.ctypes, "CDLL", lambda _: Library())
    monkeypatch.setenv(allocator.KERNELS, "7")
    for name in SETTINGS:
        monkeypatch.delenv(name, raising=False)
    assert allocator.keep_memory() and sorted(calls) == sorted(SETTINGS.values())
    calls.clear()
    for name in list(SETTINGS)[:2]:
        monkeypatch.setenv(name, "1")
    assert allocator.keep_memory() and calls == [SETTINGS["MALLOC_MMAP_THRESHOLD_"]]
    monkeypatch.setattr(allocator.ctypes, "CDLL", lambda _: object())  # another C library
    assert not allocator.keep_memory()
    assert os.environ[allocator.KERNELS] == "7"


@pytest.mark.parametrize(("kernels", "expected"), [(True, None), (False, "16")])
def test_kernels_are_kept_where_shapes_come_again(monkeypatch, kernels, expected):
    from espnet_wsm import allocator

    monkeypatch.setattr(allocator.ctypes, "CDLL", lambda _: object())
    monkeypatch.setenv(allocator.KERNELS, "")  # put back afterwards
    monkeypatch.delenv(allocator.KERNELS)
    allocator.keep_memory(kernels)
    assert os.environ.get(allocator.KERNELS) == expected


def test_garbage_is_searched_for_again_afterwards():
    assert gc.isenabled()
    with pytest.raises(KeyError), uncollected():
        assert not gc.isenabled()
        raise KeyError
    assert gc.isenabled() and gc.get_freeze_count()
    gc.unfreeze()
