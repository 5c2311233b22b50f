"""run.json: the record of a run, and the lock against resuming another one."""

import json

import pytest

from espnet_wsm.stages.record_run import main


def record(tmp_path, *settings: str, command: str = "run.sh --nj 2") -> None:
    words = [word for setting in settings for word in ("--setting", setting)]
    main(
        ["--dir", str(tmp_path / "exp"), "--command", command, "--file", str(tmp_path / "train.yaml"), *words]
    )


@pytest.fixture(autouse=True)
def config(tmp_path):
    (tmp_path / "train.yaml").write_text("lr: 1\n")


def test_the_first_record_stays_for_a_resumed_run(tmp_path):
    record(tmp_path, "a")
    (tmp_path / "exp" / "checkpoint.pth").touch()
    record(tmp_path, "a", command="run.sh --stage 3")
    run = json.loads((tmp_path / "exp" / "run.json").read_text())
    assert run["command"] == "run.sh --nj 2" and len(run["date"]) == 10 and run["git"]


@pytest.mark.parametrize("settings", [("b",), ("a", "b"), ()])
def test_other_settings_are_refused_once_there_is_a_checkpoint(tmp_path, capsys, settings):
    record(tmp_path, "a")
    record(tmp_path, *settings)  # nothing trained yet: a corrected setting starts again
    record(tmp_path, "a")
    (tmp_path / "exp" / "checkpoint.pth").touch()
    with pytest.raises(SystemExit):
        record(tmp_path, *settings)
    assert "holds a run of other settings" in capsys.readouterr().err


def test_another_configuration_file_and_a_damaged_record_are_refused(tmp_path, capsys):
    record(tmp_path, "a")
    (tmp_path / "exp" / "checkpoint.pth").touch()
    (tmp_path / "train.yaml").write_text("lr: 2\n")
    with pytest.raises(SystemExit):
        record(tmp_path, "a")
    (tmp_path / "exp" / "run.json").write_text("{")
    with pytest.raises(SystemExit):
        record(tmp_path, "a")
    errors = capsys.readouterr().err
    assert "choose another --tag" in errors and "run.json is damaged" in errors
