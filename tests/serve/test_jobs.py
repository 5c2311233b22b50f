"""The queue: bounded in what waits and in what is kept, and left at once by what nobody wants."""

import time
from pathlib import Path

import pytest
from servers import make_wav

from espnet_wsm.serve.jobs import Jobs, QueueFull
from espnet_wsm.serve.recogniser import Recogniser


@pytest.fixture
def make_jobs(model, tmp_path):
    made = []

    def make(queue: int = 10, **options) -> Jobs:
        made.append(Jobs(Recogniser(model, 1), tmp_path, queue, **options))
        return made[-1]

    yield make
    model.gate.set()
    assert all(jobs.close(10) for jobs in made)


def add(jobs: Jobs, size: int = 4000) -> str:
    job = jobs.reserve()
    audio = job.folder / "audio.wav"
    audio.write_bytes(make_wav(size))
    jobs.enqueue(job, f"{size}.wav", audio)
    return job.id


def wait_for(jobs: Jobs, id: str, state: str) -> None:
    while jobs.describe(id)["state"] != state:
        time.sleep(0.005)


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_no_more_results_are_kept_than_may_be(make_jobs):
    jobs = make_jobs(most_kept=3)
    ids = [add(jobs, 4000 + number) for number in range(6)]
    wait_for(jobs, ids[-1], "done")
    assert [jobs.describe(id) is not None for id in ids] == [False] * 3 + [True] * 3
    assert jobs.count()["done"] == 3


def test_results_are_kept_for_some_time(make_jobs):
    now = [100.0]
    jobs = make_jobs(keep_seconds=60, clock=lambda: now[0])
    id = add(jobs)
    wait_for(jobs, id, "done")
    now[0] += 60
    assert jobs.describe(id)["result"].duration == 0.25
    now[0] += 1
    assert jobs.describe(id) is None


def test_what_nobody_looks_for_goes_as_well(make_jobs, monkeypatch):
    monkeypatch.setattr("espnet_wsm.serve.jobs.PURGE_SECONDS", 0.01)
    now = [0.0]
    jobs = make_jobs(keep_seconds=60, clock=lambda: now[0])
    wait_for(jobs, add(jobs), "done")
    now[0] += 61
    while jobs.count()["done"]:
        time.sleep(0.01)


def test_a_place_is_taken_before_the_recording_has_arrived(make_jobs):
    jobs = make_jobs(queue=2)
    first, _ = jobs.reserve(), jobs.reserve()
    with pytest.raises(QueueFull):
        jobs.reserve()
    assert jobs.forget(first.id) and not first.folder.exists()
    jobs.reserve()


def test_a_recording_that_waits_can_be_given_up(make_jobs, model, tmp_path):
    jobs = make_jobs()
    model.gate.clear()
    current, unwanted, last = add(jobs, 4000), add(jobs, 5000), add(jobs, 6000)
    wait_for(jobs, current, "working")
    assert jobs.forget(unwanted) and not jobs.forget(unwanted)
    assert names(tmp_path) == {current, last} and jobs.describe(last)["before"] == 1
    model.gate.set()
    wait_for(jobs, last, "done")
    assert model.heard == [4000, 6000]


def test_a_recording_under_way_can_be_given_up(make_jobs, model, tmp_path):
    jobs = make_jobs()
    model.gate.clear()
    unwanted = add(jobs)
    wait_for(jobs, unwanted, "working")
    assert jobs.forget(unwanted)
    while names(tmp_path):  # although the gate is closed
        time.sleep(0.005)
    assert jobs.describe(unwanted) is None


def test_those_who_wait_are_told_of_the_end(make_jobs, model, tmp_path):
    jobs = make_jobs()
    model.gate.clear()
    arriving = jobs.reserve()
    current, waiting = add(jobs), add(jobs)
    wait_for(jobs, current, "working")
    assert jobs.close(10)
    jobs.enqueue(arriving, "late.wav", arriving.folder / "audio.wav")
    for id in (current, waiting, arriving.id):
        told = jobs.describe(id)
        assert (told["state"], told["message"]) == ("stopped", "the server has been stopped")
    assert names(tmp_path) == set() and not jobs.is_alive()
    with pytest.raises(QueueFull):
        jobs.reserve()
