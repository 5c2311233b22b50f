"""Two runs never write to one folder: the second is told who holds it."""

import signal
import subprocess

import pytest
from processes import wait_for

WRITER = """
set -euo pipefail
. {project}/egs/common/lib.sh
begin_stage 2 make input out
[[ -e out/.unfinished ]]
touch started
{work}
finish_stage out
"""


@pytest.fixture
def write(project, environment, tmp_path):
    """``write(work)`` starts a stage that does ``work`` with ``out`` held."""

    def start(work: str) -> subprocess.Popen:
        script = tmp_path / f"stage{len(list(tmp_path.glob('stage*')))}.sh"  # bash reads while it runs
        script.write_text(WRITER.format(project=project, work=work))
        return subprocess.Popen(
            ["bash", script], cwd=tmp_path, env=environment, stderr=subprocess.PIPE, text=True
        )

    return start


def test_a_second_run_is_refused_and_told_who_writes(write, tmp_path):
    first = write("while [[ ! -e go ]]; do sleep 0.05; done")
    wait_for((tmp_path / "started").exists)
    second = write("touch second")
    message = second.communicate(timeout=30)[1]
    assert second.returncode == 1 and not (tmp_path / "second").exists()
    assert f"another run writes to out (process {first.pid} on " in message and "stop it" in message
    (tmp_path / "go").touch()
    assert first.wait(timeout=30) == 0 and not (tmp_path / "out/.unfinished").exists()
    assert write("true").wait(timeout=30) == 0


def test_the_lock_of_a_killed_run_is_free_when_what_it_started_has_ended(write, tmp_path):
    first = write("(touch child; while [[ ! -e go ]]; do sleep 0.05; done) & wait")
    wait_for((tmp_path / "child").exists)
    first.send_signal(signal.SIGKILL)
    first.wait()
    refused = write("true")
    assert "another run writes to out" in refused.communicate(timeout=30)[1], "its child still does"
    (tmp_path / "go").touch()
    wait_for(lambda: write("true").wait(timeout=30) == 0)
    assert not (tmp_path / "out/.unfinished").exists()


def test_a_run_that_shares_a_result_waits_for_the_one_that_makes_it(write, project, environment, tmp_path):
    first = write("while [[ ! -e go ]]; do sleep 0.05; done; touch made")
    wait_for((tmp_path / "started").exists)
    script = tmp_path / "second.sh"
    script.write_text(f"set -euo pipefail; . {project}/egs/common/lib.sh; hold out wait; cp made seen")
    second = subprocess.Popen(
        ["bash", script], cwd=tmp_path, env=environment, stderr=subprocess.PIPE, text=True
    )
    assert f"waiting for another run that writes to out (process {first.pid} on" in second.stderr.readline()
    (tmp_path / "go").touch()
    assert first.wait(timeout=30) == 0 and second.wait(timeout=30) == 0 and (tmp_path / "seen").exists()
    second.stderr.close()


def test_a_folder_that_cannot_be_written_is_named(project, shell, tmp_path):
    script = tmp_path / "stage.sh"
    script.write_text(WRITER.format(project=project, work="touch wrote"))
    (tmp_path / "out").mkdir()
    mounted = "mount -t tmpfs -o ro none out && exec bash stage.sh"
    if shell(["unshare", "--mount", "true"], tmp_path).returncode:
        pytest.skip("a read-only disk can be made by root alone")
    result = shell(["unshare", "--mount", "bash", "-c", mounted], tmp_path)
    assert result.returncode == 1 and "out cannot be written: check its permissions" in result.stderr
    assert not (tmp_path / "wrote").exists()
