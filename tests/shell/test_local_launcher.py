"""conf/cluster/local.sh has the command line and the behaviour of Kaldi's run.pl."""

import signal
import subprocess
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LOCAL = ROOT / "conf" / "cluster" / "local.sh"


def test_job_is_replaced_in_log_and_command(shell, tmp_path):
    words = ["JOB=1:3", "log/x.JOB.log", "bash", "-c", "echo number JOB of $0", "a JOB"]
    result = shell([LOCAL, "--mem", "8G", "--gpu", "0", "--time", "4:00:00", *words], tmp_path)
    assert result.returncode == 0 and result.stderr == ""
    for job in (1, 2, 3):
        log = (tmp_path / "log" / f"x.{job}.log").read_text()
        assert f"number {job} of a {job}\n" in log and log.rstrip().endswith("with status 0")


def test_words_are_passed_on_as_they_are(shell, tmp_path):
    odd = "a b;'c'$(touch pwned)`x`\\ *"
    result = shell([LOCAL, "x.log", "printf", "<%s>", odd, ""], tmp_path)
    assert result.returncode == 0
    assert f"<{odd}><>" in (tmp_path / "x.log").read_text() and not (tmp_path / "pwned").exists()


def test_a_failed_job_is_named_with_status_and_end_of_log_and_the_others_run(shell, tmp_path):
    command = "[ JOB != 2 ] || { echo 'the reason'; exit 7; }; touch done.JOB"
    result = shell([LOCAL, "JOB=1:3", "x.JOB.log", "bash", "-c", command], tmp_path)
    assert result.returncode == 1
    assert "with status 7; the end of x.2.log" in result.stderr and "the reason" in result.stderr
    assert "x.1.log" not in result.stderr
    assert sorted(p.name for p in tmp_path.glob("done.*")) == ["done.1", "done.3"]


def test_the_reason_is_shown_whatever_it_looks_like(shell, tmp_path):
    command = r"printf '# comment\n\0 reason\n'; exit 3"
    result = shell([LOCAL, "x.log", "bash", "-c", command], tmp_path)
    assert result.returncode == 1 and "# comment" in result.stderr and "reason" in result.stderr


def test_a_killed_job_counts_as_failed(shell, tmp_path):
    result = shell([LOCAL, "x.log", "bash", "-c", "kill -9 $$"], tmp_path)
    assert result.returncode == 1 and "with status 137" in result.stderr


def test_an_old_log_is_not_taken_for_success(shell, tmp_path):
    (tmp_path / "locked").mkdir()
    (tmp_path / "locked" / "x.log").mkdir()  # a folder in the way: the log cannot be written
    result = shell([LOCAL, "locked/x.log", "true"], tmp_path)
    assert result.returncode == 1 and "the log could not be written" in result.stderr


def test_no_more_jobs_run_at_a_time_than_allowed(shell, tmp_path):
    command = "touch run.JOB; ls run.* | wc -l; sleep 0.3; rm run.JOB"
    shell([LOCAL, "--max_jobs_run", "2", "JOB=1:6", "x.JOB.log", "bash", "-c", command], tmp_path)
    numbers = [int(p.read_text().splitlines()[2]) for p in tmp_path.glob("x.*.log")]
    assert len(numbers) == 6 and max(numbers) == 2


def test_threads_are_limited_as_asked(shell, tmp_path):
    shell([LOCAL, "--num_threads", "1", "x.log", "bash", "-c", "echo threads $OMP_NUM_THREADS"], tmp_path)
    assert "threads 1\n" in (tmp_path / "x.log").read_text()


def test_stopping_the_launcher_stops_its_jobs(tmp_path):
    process = subprocess.Popen(
        [LOCAL, "JOB=1:2", "x.JOB.log", "bash", "-c", "echo $$ >pid.JOB; exec sleep 60"], cwd=tmp_path
    )
    deadline = time.monotonic() + 20
    while len(list(tmp_path.glob("pid.*"))) < 2 and time.monotonic() < deadline:
        time.sleep(0.05)
    time.sleep(0.2)
    pids = [int(p.read_text()) for p in tmp_path.glob("pid.*")]
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=20) == 143
    assert len(pids) == 2 and not any(Path(f"/proc/{pid}").exists() for pid in pids)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--memory", "3", "x.log", "true"], "unknown option --memory"),
        (["JOB=3:1", "x.log", "true"], "empty job range JOB=3:1"),
        (["JOB=1:abc", "x.log", "true"], "a job range is written JOB=1:N, got JOB=1:abc"),
        (["--max_jobs_run", "x", "x.log", "true"], "not a whole number: x"),
        (["x.log"], "needs a log file and a command"),
        (["--mem"], "option --mem needs a value"),
    ],
)
def test_a_wrong_command_line_is_refused(shell, tmp_path, words, message):
    result = shell([LOCAL, *words], tmp_path)
    assert result.returncode == 2 and message in result.stderr and not list(tmp_path.iterdir())
