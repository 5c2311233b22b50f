"""Servers of a model that says how long its audio was."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from servers import HOST, Counter
from starlette.testclient import TestClient
from tiny_training import corpus, training_arguments  # noqa: F401

from espnet_wsm.recognition.live import LiveOptions
from espnet_wsm.serve.app import Settings, make_app
from espnet_wsm.serve.corpus import Corpus
from espnet_wsm.serve.jobs import Jobs
from espnet_wsm.serve.live import LiveRecogniser
from espnet_wsm.serve.recogniser import Recogniser


@pytest.fixture
def model() -> Iterator[Counter]:
    counter = Counter()
    yield counter
    counter.gate.set()


@pytest.fixture
def make_server(model, tmp_path) -> Iterator[Callable]:
    """``make_server(corpus=..., queue=..., ...)`` gives an application; ``.jobs`` and ``.uploads`` of it."""
    made = []

    def make(
        corpus: Path | None = None,  # noqa: F811
        queue: int = 20,
        megabytes: float = 2,
        **options,
    ):
        uploads = tmp_path / f"uploads{len(made)}"
        uploads.mkdir()
        recogniser = Recogniser(model, max_minutes=0.5)
        jobs = Jobs(recogniser, uploads, queue, **options)
        made.append(jobs)
        settings = Settings("counter", HOST, megabytes, max_minutes=0.5, threshold=0.5)
        live = LiveRecogniser(model, LiveOptions())
        app = make_app(settings, recogniser, jobs, live, None if corpus is None else Corpus(corpus))
        app.jobs, app.uploads = jobs, uploads
        return app

    yield make
    model.gate.set()
    for jobs in made:
        assert jobs.close(10)


@pytest.fixture
def client():
    """``client(app)`` asks an application as a browser on this machine would."""
    return lambda app: TestClient(app, base_url=f"http://{HOST}", raise_server_exceptions=False)
