"""Checkpoints hold what trains and say which upstream they belong to; a kill loses at most an epoch."""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
import yaml
from espnet2.tasks.asr import ASRTask

from espnet_wsm.bin import asr_inference_greedy, asr_train
from espnet_wsm.errors import UserError
from espnet_wsm.plugin import register  # noqa: F401
from espnet_wsm.plugin.trainer import atomic_torch_save


def load_model(exp: Path, file: str | Path = "valid.loss.best.pth"):
    return ASRTask.build_model_from_file(exp / "config.yaml", exp / file, "cpu")[0]


def full_state(model) -> dict[str, torch.Tensor]:
    """The state as it was written before checkpoints held only what trains."""
    return {
        name: value.detach().clone() for name, value in [*model.named_parameters(), *model.named_buffers()]
    }


def decode(corpus: Path, exp: Path, model_file: Path, out: Path) -> str:
    asr_inference_greedy.main(
        [
            "--output_dir", str(out), "--ngpu", "0",
            "--data_path_and_name_and_type", f"{corpus / 'wav.scp'},speech,sound",
            "--asr_train_config", str(exp / "config.yaml"), "--asr_model_file", str(model_file),
        ]
    )  # fmt: skip
    return "".join((out / "1best_recog" / file).read_text() for file in ("text", "token_int", "score"))


@pytest.mark.parametrize("trainable", ["layer", "mixer"])
def test_checkpoints_hold_what_trains_and_the_identity(training_arguments, tmp_path, trainable):
    exp = tmp_path / "exp"
    asr_train.main([*training_arguments(exp), "--encoder_conf", f"trainable={trainable}"])
    model = load_model(exp)
    trained = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    identity = {"encoder._extra_state"}
    for file in ("1epoch.pth", "2epoch.pth", "valid.loss.ave.pth"):
        assert torch.load(exp / file).keys() == trained | identity
    assert torch.load(exp / "checkpoint.pth")["model"].keys() == trained | identity
    assert trained < set(full_state(model))


def test_a_checkpoint_and_the_full_state_give_the_same_hypotheses(training_arguments, corpus, tmp_path):
    exp = tmp_path / "exp"
    asr_train.main(training_arguments(exp, max_epoch=3, keep_nbest_models=2))
    small = exp / "valid.loss.ave.pth"
    torch.save(full_state(load_model(exp, small)), exp / "full.pth")
    assert small.stat().st_size < (exp / "full.pth").stat().st_size
    texts = [decode(corpus, exp, file, tmp_path / file.stem) for file in (small, exp / "full.pth")]
    assert texts[0] == texts[1]


def test_the_average_of_checkpoints_still_knows_its_upstream(training_arguments, tmp_path):
    exp = tmp_path / "exp"
    asr_train.main(training_arguments(exp, max_epoch=5, keep_nbest_models=5))
    states = [torch.load(exp / f"{epoch}epoch.pth") for epoch in range(1, 6)]
    average = torch.load(exp / "valid.loss.ave_5best.pth")
    assert torch.equal(average["encoder._extra_state"], states[0]["encoder._extra_state"])
    name = "ctc.ctc_lo.weight"
    torch.testing.assert_close(average[name], sum(state[name] for state in states) / 5)
    load_model(exp, "valid.loss.ave_5best.pth")


@pytest.fixture
def trained(training_arguments, tmp_path) -> Path:
    """A trained experiment."""
    asr_train.main(training_arguments(tmp_path / "exp"))
    return tmp_path / "exp"


def reconfigure(exp: Path, **conf) -> None:
    config = yaml.safe_load((exp / "config.yaml").read_text())
    config["encoder_conf"] |= conf
    (exp / "config.yaml").write_text(yaml.safe_dump(config))


def test_the_model_of_another_upstream_is_refused(trained, upstream_path):
    reconfigure(trained, upstream=upstream_path("hf_wav2vec2", True))
    with pytest.raises(
        UserError, match=r"trained on the upstream hf_hubert_custom \(digest .*names hf_wav2vec2"
    ):
        load_model(trained)


@pytest.mark.parametrize(
    ("conf", "message"),
    [
        ({"mixer": "attention"}, "it lacks 16 tensors"),
        ({"mixer": "lora"}, "it lacks 16 tensors"),
        ({"mixer": "drop"}, "it has, but the model has not, .* tensors"),
        ({"num_replaced": 1}, "it has, but the model has not, .* tensors"),
        ({"num_replaced": 0}, "it has, but the model has not, .* tensors"),
        ({"layers": [1, 3]}, "it lacks"),
        ({"width": 8}, "it has in another size"),
        ({"hidden": [8]}, "it lacks 16 tensors"),
        ({"num_replaced": 3}, "it lacks"),
    ],
)  # fmt: skip
def test_the_model_of_another_configuration_is_refused(trained, conf, message):
    reconfigure(trained, **conf)
    with pytest.raises(UserError, match=f"does not fit encoder_conf: {message}"):
        load_model(trained)


def test_a_missing_upstream_is_named(trained):
    reconfigure(trained, upstream="gone/upstream")
    with pytest.raises(UserError, match="upstream gone/upstream is neither a file nor a directory"):
        load_model(trained)


@pytest.mark.parametrize("part", ["", ":encoder:encoder", ":ctc:ctc"])
def test_init_param_starts_from_a_checkpoint(trained, training_arguments, tmp_path, part):
    source = trained / "2epoch.pth"
    asr_train.main(
        [
            *training_arguments(tmp_path / "next", max_epoch=1, optim_conf={"lr": 0.0}),
            "--init_param", f"{source}{part}", "--seed", "5",
        ]
    )  # fmt: skip
    old, new = torch.load(source), torch.load(tmp_path / "next" / "1epoch.pth")
    taken = {name for name in old if torch.equal(old[name], new[name])}
    prefix = part.split(":")[-1]
    assert {name for name in old if name.startswith(prefix)} <= taken
    assert (taken == set(old)) == (part == "")


def train_and_kill(arguments: list[str], until: Path) -> None:
    """Train in a process of its own until a file is there, then kill it with SIGKILL."""
    process = subprocess.Popen(
        [sys.executable, "-m", "espnet_wsm.bin.asr_train", *arguments, "--resume", "true"],
        stderr=subprocess.PIPE,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    limit = time.monotonic() + 120
    while not until.exists():
        assert process.poll() is None and time.monotonic() < limit, process.stderr.read()
        time.sleep(0.002)
    process.kill()
    assert process.wait() == -signal.SIGKILL


@pytest.mark.slow
def test_a_killed_training_ends_as_an_uninterrupted_one(training_arguments, tmp_path):
    """Whatever an optimizer keeps is taken up again; the next test and tests/faults kill in other places."""
    changes = {"max_epoch": 20, "keep_nbest_models": 2, "optim": "adam", "optim_conf": {"lr": 0.001}}
    asr_train.main(training_arguments(tmp_path / "whole", **changes))
    killed = tmp_path / "killed"
    train_and_kill(training_arguments(killed, **changes), until=killed / "2epoch.pth")
    assert not (killed / "20epoch.pth").exists()
    asr_train.main([*training_arguments(killed, **changes), "--resume", "true"])
    for file in ("20epoch.pth", "valid.loss.ave.pth"):
        whole, resumed = torch.load(tmp_path / "whole" / file), torch.load(killed / file)
        assert whole.keys() == resumed.keys() and all(torch.equal(whole[k], resumed[k]) for k in whole)
    assert not list(killed.glob(".*.tmp")), "what a killed write left behind"


class Killed(BaseException):
    """Stands for SIGKILL."""


def train_until(call: int, arguments: list[str]) -> int:
    """Train, and die before the given one of the calls that change which files there are; a dead process
    changes none any more, whatever it still runs through. Returns how many calls there were."""
    calls = 0

    def mortal(change):
        def count_and_change(*args, **kwargs):
            nonlocal calls
            calls += 1
            if calls >= call:
                raise Killed
            return change(*args, **kwargs)

        return count_and_change

    with pytest.MonkeyPatch.context() as patch:
        for name in ("replace", "rename", "unlink", "remove", "symlink"):
            patch.setattr(os, name, mortal(getattr(os, name)))
        with contextlib.suppress(Killed):
            asr_train.main([*arguments, "--resume", "true"])
    return calls


def read_models(exp: Path) -> dict[str, dict[str, torch.Tensor]]:
    """Models by file, through links."""
    return {file.name: torch.load(file) for file in exp.glob("*.pth") if file.name != "checkpoint.pth"}


@pytest.mark.slow
def test_a_kill_at_any_change_of_files_in_the_last_epoch_leaves_no_trace(training_arguments, tmp_path):
    """The last epoch is the best here, so it moves a link, and there is an older model to remove."""
    begun, exp = tmp_path / "begun", tmp_path / "exp"
    changes = {"keep_nbest_models": [1, 2], "nbest_averaging_interval": 4}
    asr_train.main(training_arguments(begun, max_epoch=3, **changes))
    shutil.copytree(begun, exp, symlinks=True)
    calls = train_until(sys.maxsize, training_arguments(exp, max_epoch=4, **changes))
    whole = read_models(exp)
    assert {"3epoch.pth", "4epoch.pth", "valid.loss.ave_2best.till4epoch.pth"} < whole.keys()
    assert not {"1epoch.pth", "2epoch.pth"} & whole.keys()
    assert os.readlink(exp / "valid.loss.best.pth") == "4epoch.pth" and calls > 10
    for call in range(1, calls + 1):
        shutil.rmtree(exp)
        shutil.copytree(begun, exp, symlinks=True)
        assert train_until(call, training_arguments(exp, max_epoch=4, **changes)) >= call
        asr_train.main([*training_arguments(exp, max_epoch=4, **changes), "--resume", "true"])
        resumed = read_models(exp)
        assert resumed.keys() ^ whole.keys() == set(), f"killed before change {call} of {calls}"
        for file, states in whole.items():
            assert all(torch.equal(states[name], resumed[file][name]) for name in states), (call, file)
        assert not list(exp.glob(".*.tmp")), "what a killed write left behind"


def test_an_interrupted_write_leaves_the_old_checkpoint(tmp_path):
    file = tmp_path / "checkpoint.pth"

    class Bomb:
        def __reduce__(self):
            raise KeyboardInterrupt

    with atomic_torch_save():
        torch.save({"epoch": 1}, file)
        with pytest.raises(KeyboardInterrupt):
            torch.save({"weights": torch.zeros(1000), "epoch": Bomb()}, file)
    assert torch.load(file) == {"epoch": 1} and os.listdir(tmp_path) == ["checkpoint.pth"]


def test_a_damaged_checkpoint_is_named(trained, training_arguments, capsys):
    (trained / "checkpoint.pth").write_bytes(b"half a checkpoint")
    with pytest.raises(SystemExit):
        asr_train.main([*training_arguments(trained, max_epoch=3), "--resume", "true"])
    error = capsys.readouterr().err
    assert "checkpoint.pth cannot be resumed from" in error and "delete it to train anew" in error
