"""Tiny random upstreams and waveforms for all tests."""

import functools
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from checkpoints import CHECKPOINTS, POST_NORM, PRE_NORM


@pytest.fixture(scope="session")
def upstream_path(tmp_path_factory) -> Callable[[str, bool], str]:
    """``upstream_path(family, pre_norm)`` gives the path of a tiny random upstream."""
    root: Path = tmp_path_factory.mktemp("upstreams")

    @functools.cache
    def get(family: str, pre_norm: bool) -> str:
        place = root / f"{family}_{'pre' if pre_norm else 'post'}"
        return str(CHECKPOINTS[family, PRE_NORM if pre_norm else POST_NORM](place))

    return get


@pytest.fixture(params=["hf_hubert", "hf_wav2vec2", "hubert", "wav2vec2"])
def family_name(request) -> str:
    """Two families of transformers and two of S3PRL; tests/upstream/test_families.py has them all."""
    return request.param


@pytest.fixture(params=[False, True], ids=["post_norm", "pre_norm"])
def pre_norm(request) -> bool:
    """Both places of the norm."""
    return request.param


@pytest.fixture
def wavs() -> list[torch.Tensor]:
    """Three waveforms of different length: 1 s, 0.6 s, 0.3 s."""
    generator = torch.Generator().manual_seed(7)
    return [0.1 * torch.randn(n, generator=generator) for n in (16000, 9600, 4800)]
