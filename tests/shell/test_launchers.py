"""The launchers of conf/cluster have the command line and the behaviour of Kaldi's run.pl and slurm.pl.

What callers rely on is tested of both, Slurm's part against a real one-node Slurm.
"""

import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest
from processes import is_alive, wait_for

ROOT = Path(__file__).parents[2]
CLUSTER = ROOT / "conf" / "cluster"
SLURM = CLUSTER / "slurm.sh"
KINDS = ("local", "slurm")


@pytest.fixture(params=KINDS)
def launcher(request) -> Path:
    """Each launcher, ready to be called."""
    if request.param == "slurm":
        request.getfixturevalue("slurm")
    return CLUSTER / f"{request.param}.sh"


@pytest.fixture
def run(launcher, shell, tmp_path):
    """``run(words)`` calls the launcher in an empty folder."""
    return lambda *words: shell([launcher, *words], tmp_path)


def test_job_is_replaced_in_log_and_command(run, tmp_path):
    words = ["JOB=1:3", "log/x.JOB.log", "bash", "-c", "echo number JOB of $0", "a JOB"]
    result = run("--mem", "100M", "--gpu", "0", "--time", "4:00:00", *words)
    assert result.returncode == 0 and result.stderr == ""
    for job in (1, 2, 3):
        log = (tmp_path / "log" / f"x.{job}.log").read_text()
        assert f"number {job} of a {job}\n" in log and log.rstrip().endswith("with status 0")
    assert len(list((tmp_path / "log").iterdir())) == 3


def test_words_are_passed_on_as_they_are(run, tmp_path):
    odd = "a b;'c'$(touch pwned)`x`\\ *\n-%j \"q\""
    result = run("l%A g/x;$(touch y).log", "printf", "<%s>", odd, "", "--task")
    assert result.returncode == 0, result.stderr
    log = (tmp_path / "l%A g" / "x;$(touch y).log").read_text()
    assert f"<{odd}><><--task>" in log and [path.name for path in tmp_path.iterdir()] == ["l%A g"]


def test_a_failed_job_is_named_with_status_and_end_of_log_and_the_others_run(run, tmp_path):
    command = "[ JOB != 2 ] || { echo 'the reason'; exit 7; }; touch done.JOB"
    result = run("JOB=1:3", "x.JOB.log", "bash", "-c", command)
    assert result.returncode == 1
    assert "job 2 failed: ended " in result.stderr
    assert "with status 7; the end of x.2.log" in result.stderr and "the reason" in result.stderr
    assert "x.1.log" not in result.stderr
    assert sorted(p.name for p in tmp_path.glob("done.*")) == ["done.1", "done.3"]


def test_the_failed_jobs_alone_are_run_again_by_the_command_that_is_told(run, tmp_path, shell):
    command = "echo >>times.JOB; case JOB in 2 | 4 | 5) [ -e now ] || exit 1;; esac"
    result = run("--num_threads", "1", "JOB=1:6", "x.JOB.log", "bash", "-c", command)
    line = result.stderr.splitlines()[-1]
    assert "3 of 6 jobs failed; to run them again: " in line
    (tmp_path / "now").touch()
    again = shell(["bash", "-c", line.split("again: ")[1]], tmp_path)
    assert again.returncode == 0, again.stderr
    times = {path.suffix[1:]: len(path.read_text()) for path in tmp_path.glob("times.*")}
    assert times == {"1": 1, "2": 2, "3": 1, "4": 2, "5": 2, "6": 1}


def test_many_failures_are_counted_and_the_first_ones_shown(run):
    result = run("JOB=1:8", "x.JOB.log", "bash", "-c", "exit 3")
    assert result.stderr.count("with status 3") == 5 and "and 3 more jobs failed" in result.stderr


def test_the_reason_is_shown_whatever_it_looks_like(run):
    command = r"printf '# comment\n\0 reason\n'; exit 3"
    result = run("x.log", "bash", "-c", command)
    assert result.returncode == 1 and "# comment" in result.stderr and "reason" in result.stderr
    assert "the job failed: ended" in result.stderr


def test_a_killed_command_counts_as_failed(run):
    result = run("x.log", "bash", "-c", "kill -9 $$")
    assert result.returncode == 1 and "with status 137" in result.stderr


def test_a_log_of_an_earlier_call_is_not_taken_for_success(run, tmp_path):
    assert run("x.log", "true").returncode == 0
    result = run(
        "x.log", "bash", "-c", "kill -9 $PPID"
    )  # the job's own shell: nothing is left to write the end
    assert result.returncode == 1, (tmp_path / "x.log").read_text()
    assert "without a trace" in result.stderr or "without a last line" in result.stderr


def test_a_job_that_outlived_its_launcher_is_not_joined_by_a_second_one(launcher, environment, run, tmp_path):
    words = [launcher, "x.log", "bash", "-c", "touch started; while [ ! -e go ]; do sleep 0.1; done"]
    process = subprocess.Popen(words, cwd=tmp_path, env=environment)
    wait_for((tmp_path / "started").exists)
    process.kill()
    process.wait()
    refused = run("x.log", "touch", "second")
    assert refused.returncode == 2 and not (tmp_path / "second").exists()
    assert "a job of an earlier call still writes to x.log: wait until it ends, or stop it" in refused.stderr
    (tmp_path / "go").touch()
    wait_for(lambda: "with status 0" in (tmp_path / "x.log").read_text())
    wait_for(lambda: run("x.log", "touch", "second").returncode == 0)
    assert (tmp_path / "second").exists()


def test_a_log_that_cannot_be_written_is_named(run, tmp_path):
    (tmp_path / "locked" / "x.log").mkdir(parents=True)  # a folder in the way
    result = run("locked/x.log", "touch", "done")
    assert result.returncode != 0 and "locked/x.log" in result.stderr and not (tmp_path / "done").exists()


def test_no_more_jobs_run_at_a_time_than_allowed(run, tmp_path):
    command = "touch run.JOB; set -- run.*; echo $#; sleep 0.3; rm run.JOB"
    run("--max_jobs_run", "2", "JOB=1:6", "x.JOB.log", "bash", "-c", command)
    numbers = [int(p.read_text().splitlines()[2]) for p in tmp_path.glob("x.*.log")]
    assert len(numbers) == 6 and max(numbers) == 2


def test_threads_are_limited_as_asked(run, tmp_path):
    run("--num_threads", "1", "x.log", "bash", "-c", "echo threads $OMP_NUM_THREADS")
    assert "threads 1\n" in (tmp_path / "x.log").read_text()


def test_stopping_the_launcher_stops_its_jobs(launcher, environment, tmp_path):
    words = [launcher, "JOB=1:2", "x.JOB.log", "bash", "-c", "echo $$ >pid.JOB; exec sleep 60"]
    process = subprocess.Popen(words, cwd=tmp_path, env=environment)
    wait_for(lambda: len([p for p in tmp_path.glob("pid.*") if p.read_text().strip()]) == 2)
    time.sleep(0.2)
    pids = [int(p.read_text()) for p in tmp_path.glob("pid.*")]
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=20) == 143
    wait_for(lambda: not any(map(is_alive, pids)))


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--memory", "3", "x.log", "true"], "unknown option --memory"),
        (["JOB=3:1", "x.log", "true"], "empty job range JOB=3:1"),
        (["JOB=1:abc", "x.log", "true"], "a job range is written JOB=1:N, got JOB=1:abc"),
        (["JOB=", "x.log", "true"], "a job range is written JOB=1:N, got JOB="),
        (["--max_jobs_run", "x", "x.log", "true"], "not a whole number: x"),
        (["--gpu", "one", "x.log", "true"], "not a whole number: one"),
        (["x.log"], "needs a log file and a command"),
        (["--mem"], "option --mem needs a value"),
    ],
)
@pytest.mark.parametrize("kind", KINDS)
def test_a_wrong_command_line_is_refused(shell, tmp_path, kind, words, message):
    result = shell([CLUSTER / f"{kind}.sh", *words], tmp_path)
    assert result.returncode == 2 and message in result.stderr and not list(tmp_path.iterdir())


def test_a_task_that_is_cancelled_fails_alone(slurm, shell, environment, tmp_path):
    words = [
        SLURM,
        "JOB=1:3",
        "mine.JOB.log",
        "bash",
        "-c",
        "touch started.JOB; [ JOB != 2 ] || sleep 60; touch done.JOB",
    ]
    process = subprocess.Popen(words, cwd=tmp_path, env=environment, stderr=subprocess.PIPE, text=True)
    wait_for(lambda: (tmp_path / "started.2").exists())
    tasks = shell(["squeue", "-h", "-r", "-n", "mine.JOB", "-o", "%i"], tmp_path).stdout.split()
    (task,) = (each for each in tasks if each.endswith("_2"))
    shell(["scancel", task], tmp_path)
    message = process.communicate(timeout=60)[1]
    assert process.returncode == 1 and "1 of 3 jobs failed" in message
    assert "job 2 failed: " in message and "with status 143" in message
    assert sorted(p.name for p in tmp_path.glob("done.*")) == ["done.1", "done.3"]


def test_the_configuration_reaches_slurm(slurm, shell, tmp_path):
    config = tmp_path / "site.yaml"
    config.write_text(
        "constraint: null\npoll_seconds: 0.5\noptions: [--comment=hello, --nice=5]\nmodules: [one/1, two]\n"
        "with_gpu: {gres: 'gpu:{gpu}', options: [--comment=gpu]}\n"
    )
    tell = 'echo "gpu=$CUDA_VISIBLE_DEVICES"; scontrol -o show job "$SLURM_JOB_ID"; cat modules; '
    tell += "srun bash -c 'echo task of $SLURM_CPUS_PER_TASK cores'"
    module = 'module() { echo "loaded $2" >>modules; }; export -f module; "$@"'
    words = [SLURM, "--config", config, "--mem", "50M", "--time", "0:03:00", "--num_threads", "2"]
    for gpu, expected in (("0", "Comment=hello"), ("1", "Comment=gpu")):
        call = ["bash", "-c", module, "bash", *words, "--gpu", gpu, f"{gpu}.log", "bash", "-c", tell]
        result = shell(call, tmp_path)
        assert result.returncode == 0, result.stderr
        log = (tmp_path / f"{gpu}.log").read_text()
        assert (
            expected in log
            and "TimeLimit=00:03:00" in log
            and "NumCPUs=2" in log
            and "MinMemoryNode=50M" in log
        )
        assert "loaded one/1\nloaded two\n" in log
        assert f"gpu={'0' if gpu == '1' else ''}\n" in log and "task of 2 cores" in log


def test_several_nodes_are_asked_for_with_a_task_each(shell, tmp_path):
    words = ["--num_nodes", "2", "--gpu", "4", "--num_threads", "8"]
    result = shell(
        ["python", "-m", "espnet_wsm.stages.sbatch_options", CLUSTER / "slurm.yaml", *words], tmp_path
    )
    options = result.stdout.split("\0")
    assert {"--nodes=2", "--ntasks-per-node=1", "--cpus-per-task=8", "--gres=gpu:4"} <= set(options), (
        result.stderr
    )
    local = shell([CLUSTER / "local.sh", "--num_nodes", "2", "x.log", "true"], tmp_path)
    assert local.returncode == 2 and "this launcher has one machine, not 2: use slurm.sh" in local.stderr


def test_what_slurm_refuses_is_passed_on(slurm, shell, tmp_path):
    (tmp_path / "site.yaml").write_text("partition: nowhere\n")
    result = shell([SLURM, "--config", "site.yaml", "x.log", "true"], tmp_path)
    assert (
        result.returncode == 2 and "sbatch refused the job" in result.stderr and "partition" in result.stderr
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("partitions: gpu\n", "unknown key partitions; there are partition,"),
        ("modules: cuda\n", "modules: 'cuda' is no list"),
        ("partition: [a]\n", "partition: ['a'] is no text"),
        ("max_jobs_run: many\n", "max_jobs_run: 'many' is no whole number"),
        ("with_gpu: {with_gpu: {}}\n", "unknown key with_gpu"),
        ("- a\n", "holds no mapping"),
        ("a: [\n", "is not YAML"),
        (None, "site.yaml cannot be read: No such file"),
    ],
)
def test_a_wrong_configuration_is_refused_before_anything_is_submitted(shell, tmp_path, text, message):
    tools = tmp_path / "bin"
    tools.mkdir()
    for name in ("sbatch", "squeue", "scancel"):
        (tools / name).write_text("#!/bin/sh\ntouch called\n")
        (tools / name).chmod(0o755)
    if text is not None:
        (tmp_path / "site.yaml").write_text(text)
    call = f"PATH={tools}:$PATH exec {SLURM} --config site.yaml --gpu 1 x.log true"
    result = shell(["bash", "-c", call], tmp_path)
    assert result.returncode == 2 and message in result.stderr and not (tmp_path / "called").exists()


def test_without_slurm_it_says_so(tmp_path):
    tools = tmp_path / "bin"
    tools.mkdir()
    for name in ("bash", "basename", "dirname", "env"):
        (tools / name).symlink_to(shutil.which(name))
    result = subprocess.run(
        [tools / "bash", SLURM, "x.log", "true"],
        cwd=tmp_path,
        env={"PATH": str(tools)},
        capture_output=True,
        text=True,
    )
    assert (
        result.returncode == 2
        and "sbatch is not there: this machine is not part of a Slurm cluster" in result.stderr
    )


def test_the_one_node_slurm_ends_what_it_started_and_nothing_else(slurm, shell, tmp_path):
    """A second one beside the fixture's."""
    tools, folder = ROOT / "tools/slurm", tmp_path / "slurm"
    assert shell([tools / "start.sh", folder, "2"], tmp_path).returncode == 0
    refused = shell([tools / "start.sh", folder], tmp_path)
    assert refused.returncode == 1 and "runs in" in refused.stderr and "stop.sh ends it" in refused.stderr
    pids = [int((folder / f"{name}.pid").read_text()) for name in ("slurmctld", "slurmd")]
    assert all(map(is_alive, pids))
    assert shell([tools / "stop.sh", folder], tmp_path).returncode == 0
    assert not any(map(is_alive, pids))
    assert shell(["sinfo"], tmp_path).returncode == 0, "that of the other folder is gone"
    assert shell([tools / "stop.sh", folder], tmp_path).returncode == 0, "nothing left to end"
    assert os.environ.get("SLURM_CONF") is None
