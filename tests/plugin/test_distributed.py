"""Two processes train what one does with twice the batch, from waveforms and from stored features."""

import json
import re
import shutil
from pathlib import Path

import pytest
import torch
import yaml
from tiny_training import MODEL

from espnet_wsm.bin import asr_train
from espnet_wsm.recipe.progress import read_progress


@pytest.fixture
def upstream(upstream_path, tmp_path) -> Path:
    """One without dropout, which would draw other numbers in each process."""
    folder = tmp_path / "upstream"
    shutil.copytree(upstream_path("hf_hubert", True), folder)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(
        json.dumps(config | {name: 0.0 for name in config if "dropout" in name})
    )
    return folder


@pytest.fixture
def arguments(training_arguments, corpus, upstream):
    """As ``training_arguments``, with twelve utterances in batches of four, which two processes share."""

    def get(output_dir: Path, encoder_conf: dict, **changes) -> list[str]:
        changes = {"batch_size": 4, "max_epoch": 3, "ctc_conf": {"dropout_rate": 0.0}} | changes
        words = training_arguments(output_dir, **changes)
        config = corpus / f"{output_dir.name}.yaml"
        conf = yaml.safe_load(config.read_text())
        conf["encoder_conf"] |= {"upstream": str(upstream), **encoder_conf}
        config.write_text(yaml.safe_dump(conf))
        return words

    for name in ("wav.scp", "text", "speech_shape"):
        lines = (corpus / name).read_text().splitlines()
        copies = [f"copy{number}_{line}" for number in range(4) for line in lines]
        (corpus / name).write_text("\n".join(copies) + "\n")
    return get


@pytest.fixture
def run_two(shell, tmp_path):
    """``run_two(words)`` trains in two processes on this machine, by torch's own launcher."""
    launcher = "python -m torch.distributed.run --standalone --nproc_per_node 2 --no_python python".split()
    options = ["--multiprocessing_distributed", "false", "--dist_backend", "gloo"]
    return lambda words: shell(
        [*launcher, "-m", "espnet_wsm.bin.asr_train", *words, *options], tmp_path, timeout=300
    )


@pytest.mark.parametrize("trainable", ["layer", "mixer"])
def test_two_processes_equal_one_with_twice_the_batch(arguments, run_two, tmp_path, trainable):
    conf = {"trainable": trainable}
    asr_train.main(arguments(tmp_path / "one", conf))
    result = run_two(arguments(tmp_path / "two", conf))
    assert result.returncode == 0, result.stderr
    assert re.search(r":0/2\].*1/3epoch started", result.stderr), "one process would show nothing"
    assert "find_unused_parameters" not in result.stderr
    states = [read_progress(tmp_path / exp / "train.progress.json") for exp in ("one", "two")]
    assert [(state["done"], state["total"]) for state in states] == [(3, 3)] * 2
    losses = [state["figures"]["valid loss"] for state in states]
    assert losses[1] == pytest.approx(losses[0], rel=1e-4)
    start = torch.load(tmp_path / "one/1epoch.pth")
    one, two = (torch.load(tmp_path / exp / "3epoch.pth") for exp in ("one", "two"))
    assert one.keys() == two.keys()
    for name, value in one.items():
        torch.testing.assert_close(two[name], value, rtol=0, atol=1e-5, msg=name)
    name = "ctc.ctc_lo.weight"
    assert (one[name] - start[name]).abs().max() > 1e-3, "it trains"


def test_a_guide_teaches_two_processes_as_it_does_one(arguments, run_two, tmp_path):
    asr_train.main(arguments(tmp_path / "teacher", {"mixer": "attention"}, max_epoch=1))
    changes = {"max_epoch": 2, "model_conf": MODEL | {"guide": str(tmp_path / "teacher")}}
    asr_train.main(arguments(tmp_path / "one", {}, **changes))
    result = run_two(arguments(tmp_path / "two", {}, **changes))
    assert result.returncode == 0, result.stderr
    one, two = (torch.load(tmp_path / exp / "2epoch.pth") for exp in ("one", "two"))
    assert one.keys() == two.keys()
    for name, value in one.items():
        torch.testing.assert_close(two[name], value, rtol=0, atol=1e-5, msg=name)


def test_what_one_process_refuses_ends_both_without_a_traceback(arguments, run_two, tmp_path):
    result = run_two(arguments(tmp_path / "exp", {"window": -1}))
    assert result.returncode != 0 and "error: window has to be" in result.stderr
    assert not re.search(r"Traceback[^\0]*UserError", result.stderr)
