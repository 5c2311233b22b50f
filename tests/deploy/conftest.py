"""A trained model of noise, which other runtimes then run."""

import shutil
from pathlib import Path

import pytest
from tiny_training import corpus, encoder_conf, make_lively, training_arguments  # noqa: F401


@pytest.fixture(scope="session")
def trained_once() -> dict[str, Path]:
    """The experiment that tests share, made by the first that needs it."""
    return {}


@pytest.fixture
def exp(trained_once, training_arguments, upstream_path, tmp_path_factory) -> Path:  # noqa: F811
    """A model on an upstream that hears the same at any level, with a licence beside its weights."""
    if "exp" not in trained_once:
        from espnet_wsm.bin import asr_train

        folder = tmp_path_factory.mktemp("deploy")
        upstream = folder / "upstream"
        shutil.copytree(upstream_path("hf_hubert", False), upstream)
        (upstream / "LICENSE").write_text("as you like\n")
        asr_train.main(training_arguments(folder / "asr_x", encoder_conf=encoder_conf(str(upstream))))
        make_lively(folder / "asr_x")
        trained_once["exp"] = folder / "asr_x"
    return trained_once["exp"]
