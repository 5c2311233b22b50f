"""The addresses of the server, and what is answered at each."""

import asyncio
import json
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from functools import partial
from importlib.resources import files
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from urllib.parse import quote

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route, WebSocketRoute
from starlette.types import ASGIApp

from espnet_wsm.annotations import FORMATS, Recording, Segment, read_annotations, write_annotations
from espnet_wsm.annotations.json_format import format_json
from espnet_wsm.errors import UserError
from espnet_wsm.files import digest_text
from espnet_wsm.serve.corpus import Corpus
from espnet_wsm.serve.guard import MEGABYTE, Guard
from espnet_wsm.serve.jobs import Jobs, QueueFull
from espnet_wsm.serve.live import LiveRecogniser
from espnet_wsm.serve.names import clean_name, clean_suffix
from espnet_wsm.serve.recogniser import Recogniser

DOWNLOADS = ("srt", "vtt", "eaf", "textgrid", "txt", "json")
PAGE = {
    "/": ("index.html", "text/html"),
    "/style.css": ("style.css", "text/css"),
    "/icon.svg": ("icon.svg", "image/svg+xml"),
} | {
    f"/{name}.js": (f"{name}.js", "text/javascript")
    for name in ("app", "server", "card", "transcript", "words", "recorder", "live", "capture")
}  # fmt: skip
MOST_ANNOTATIONS = 30 * MEGABYTE  # of JSON: some hours of words with their characters
LONGEST_WAIT, LOOK_EVERY = 20.0, 0.2  # seconds that a question for news is kept open
MOST_ASKED = 200  # jobs in one
UNKNOWN = "unknown"  # state of a job that is not there any more
RETRY_AFTER = 10  # seconds
# Confidence below which a word is marked: where it is the probability of being right, and where it is not. In
# two minutes of joined prompts (asterisk, Whisper base, not calibrated) 33 of 232 words are below 0.7, 20 of
# these wrong, and none is below 0.5.
THRESHOLD, THRESHOLD_UNCALIBRATED = 0.5, 0.7


@dataclass(frozen=True)
class Settings:
    """What people are told about the server, and its limits.

    Args:
        model: name of the model.
        host: address or name that it listens at.
        max_megabytes: of an upload.
        max_minutes: of a recording, as ``Recogniser`` has it.
        threshold: confidence below which a word is marked at first.
    """

    model: str
    host: str
    max_megabytes: float
    max_minutes: float
    threshold: float = THRESHOLD


def make_app(
    settings: Settings,
    recogniser: Recogniser,
    jobs: Jobs,
    live: LiveRecogniser,
    corpus: Corpus | None = None,
) -> ASGIApp:
    """The application; ``jobs`` stays the caller's to close."""
    server = _Server(settings, recogniser, jobs, corpus)
    routes = [
        *(Route(path, partial(_answer_page, *page)) for path, page in _read_page().items()),
        Route("/health", server.report_health),
        Route("/api/settings", server.tell_settings),
        Route("/api/jobs", server.take, methods=["POST"]),
        Route("/api/jobs", server.tell_news, methods=["GET"]),
        Route("/api/jobs/{id}", server.tell, methods=["GET"]),
        Route("/api/jobs/{id}", server.forget, methods=["DELETE"]),
        Route("/api/files/{format}", server.write_file, methods=["POST"]),
        Route("/api/corpus", server.add_to_corpus, methods=["POST"]),
        WebSocketRoute("/api/live", live.listen),
    ]
    app = Starlette(
        routes=routes,
        exception_handlers={
            HTTPException: _tell_refusal, UserError: _tell_fault, QueueFull: _tell_full,
            OSError: _tell_system, ClientDisconnect: _tell_nobody, Exception: _tell_failure,
        },
    )  # fmt: skip
    return Guard(app, settings.host, round(settings.max_megabytes * MEGABYTE))


def _read_page() -> dict[str, tuple[bytes, str]]:
    folder = files("espnet_wsm.serve") / "page"
    return {path: ((folder / name).read_bytes(), kind) for path, (name, kind) in PAGE.items()}


async def _answer_page(content: bytes, kind: str, request: Request) -> Response:
    return Response(content, media_type=kind)


async def _tell_refusal(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return JSONResponse({"error": error.detail}, error.status_code, error.headers)


async def _tell_fault(request: Request, error: Exception) -> Response:
    return JSONResponse({"error": str(error)}, 422)


async def _tell_full(request: Request, error: Exception) -> Response:
    sentence = "as many recordings wait as may: try again in a while"
    return JSONResponse({"error": sentence}, 503, {"Retry-After": str(RETRY_AFTER)})


async def _tell_system(request: Request, error: Exception) -> Response:
    assert isinstance(error, OSError)
    return JSONResponse({"error": f"the server could not write: {error.strerror or error}"}, 507)


async def _tell_nobody(request: Request, error: Exception) -> Response:
    return Response(status_code=400)


async def _tell_failure(request: Request, error: Exception) -> Response:
    return JSONResponse({"error": "the server failed; the reason is in its terminal"}, 500)


class _Server:
    """The answers. Whoever knows the id of a job may ask for it; ids cannot be guessed."""

    def __init__(self, settings: Settings, recogniser: Recogniser, jobs: Jobs, corpus: Corpus | None):
        self.settings, self.recogniser, self.jobs, self.corpus = settings, recogniser, jobs, corpus
        self._adding = asyncio.Semaphore(1)

    async def report_health(self, request: Request) -> Response:
        """Whether recordings are worked at, and how many."""
        alive = self.jobs.is_alive()
        state = {
            "status": "ok" if alive else "failed",
            "model": self.settings.model,
            "jobs": self.jobs.count(),
        }
        return JSONResponse(state, 200 if alive else 503)

    async def tell_settings(self, request: Request) -> Response:
        """What the page has to know."""
        told = asdict(self.settings) | {
            "corpus": None if self.corpus is None else str(self.corpus.folder.resolve()),
            "formats": [{"name": name, "suffix": FORMATS[name].suffix} for name in DOWNLOADS],
        }
        return JSONResponse(told)

    async def take(self, request: Request) -> Response:
        """Take an upload, the field ``audio`` of a form, into the queue."""
        job = self.jobs.reserve()
        try:
            async with _read_form(request) as (upload, _):
                audio = await _save(upload, job.folder)
                self.jobs.enqueue(job, clean_name(upload.filename or ""), audio)
        except BaseException:  # the browser has gone, above all
            self.jobs.forget(job.id)
            raise
        return _describe(self.jobs, job.id, 202)

    async def tell_news(self, request: Request) -> Response:
        """States of the jobs ``?ids=ID,ID``; with ``&seen=TAG`` of the last answer, once one has changed."""
        ids, seen = request.query_params.get("ids", "").split(","), request.query_params.get("seen")
        for _ in range(round(LONGEST_WAIT / LOOK_EVERY)):
            states = [self.jobs.describe(id) or {"id": id, "state": UNKNOWN} for id in ids[:MOST_ASKED]]
            told = [{key: value for key, value in state.items() if key != "result"} for state in states]
            tag = digest_text(repr(told))[:16]
            if tag != seen or await request.is_disconnected():
                break
            await asyncio.sleep(LOOK_EVERY)
        return JSONResponse({"tag": tag, "jobs": told})

    async def tell(self, request: Request) -> Response:
        """State of a job, and its annotations once it is done."""
        return _describe(self.jobs, request.path_params["id"])

    async def forget(self, request: Request) -> Response:
        """Give up a job, with its recording and result."""
        if not self.jobs.forget(request.path_params["id"]):
            raise _unknown_job()
        return Response(status_code=204)

    async def write_file(self, request: Request) -> Response:
        """The annotations of the body as a file of another format."""
        name = request.path_params["format"]
        if name not in DOWNLOADS:
            raise HTTPException(404, f"there is no format {name[:40]!a}: there are {', '.join(DOWNLOADS)}")
        body = bytearray()
        async for block in request.stream():
            body += block
            _check_annotations(len(body))
        content, file = await run_in_threadpool(_convert, bytes(body), name)
        headers = {"Content-Disposition": f"attachment; filename*=UTF-8''{quote(file)}"}
        return Response(content, media_type="application/octet-stream", headers=headers)

    async def add_to_corpus(self, request: Request) -> Response:
        """Store a recording and its annotations: the fields ``audio``, ``annotations`` and ``speaker``."""
        if self.corpus is None:
            raise HTTPException(404, "nothing is stored here: start the server with --corpus DIR")
        place = self.jobs.reserve()
        try:
            async with _read_form(request) as (upload, fields):
                audio = await _save(upload, place.folder)
                async with self._adding:  # one at a time: it takes memory
                    added = await run_in_threadpool(
                        self._add, self.corpus, audio, upload.filename or "", fields
                    )
        finally:
            self.jobs.forget(place.id)
        return JSONResponse(added)

    def _add(self, corpus: Corpus, audio: Path, name: str, fields: dict[str, str]) -> dict[str, Any]:
        name, content = clean_name(name), fields.get("annotations", "")
        recording = _parse(content.encode("utf-8", errors="replace"))
        utterances: list[Segment] = [each for tier in recording.tiers for each in tier.segments]
        utterances.sort(key=lambda each: each.start)
        try:
            samples = self.recogniser.read(audio)
        except UserError as error:
            raise UserError(str(error).replace(str(audio), name)) from None
        added = corpus.add(samples, name, utterances, fields.get("speaker", "")[:100])
        return asdict(added) | {"table": str(corpus.table.resolve()), "commands": corpus.commands()}


def _unknown_job() -> HTTPException:
    return HTTPException(404, "there is no such recording any more: send it again")


def _describe(jobs: Jobs, id: str, status: int = 200) -> Response:
    state = jobs.describe(id)
    if state is None:
        raise _unknown_job()
    result = state.pop("result")
    if isinstance(result, Recording):
        named = Recording(str(state["name"]), result.tiers, result.duration, result.language)
        state["annotations"] = json.loads(format_json(named))
    return JSONResponse(state, status)


@asynccontextmanager
async def _read_form(request: Request) -> AsyncIterator[tuple[UploadFile, dict[str, str]]]:
    """The audio of a form, and its other fields."""
    kind = request.headers.get("content-type", "")
    if not kind.startswith("multipart/form-data"):
        raise HTTPException(415, "send a form with a file in the field `audio`")
    async with request.form(max_files=1, max_fields=4, max_part_size=MOST_ANNOTATIONS) as form:
        upload = form.get("audio")
        if not isinstance(upload, UploadFile):
            raise HTTPException(400, "the form has no file in the field `audio`: choose a recording")
        yield upload, {name: value for name, value in form.items() if isinstance(value, str)}


async def _save(upload: UploadFile, folder: Path) -> Path:
    """The upload as a file. Its name is ours but for a suffix, by which some formats are known."""
    path = folder / f"audio{clean_suffix(upload.filename or '').lower()}"

    def copy() -> None:
        with path.open("wb") as file:
            shutil.copyfileobj(upload.file, file, 1 << 20)

    await run_in_threadpool(copy)
    return path


def _check_annotations(size: int) -> None:
    if size > MOST_ANNOTATIONS:
        raise HTTPException(413, f"annotations of more than {MOST_ANNOTATIONS // MEGABYTE} MB")


def _parse(content: bytes) -> Recording:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "annotations.json"
        path.write_bytes(content)
        try:
            return read_annotations(path, "json")
        except UserError as error:
            raise UserError(str(error).replace(f"{path}: ", "").replace(str(path), "the text")) from None


def _convert(content: bytes, name: str) -> tuple[bytes, str]:
    """A file of another format, and its name."""
    recording = _parse(content)
    audio = clean_name(recording.audio or "")
    recording = Recording(audio, recording.tiers, recording.duration, recording.language)
    with TemporaryDirectory() as folder:
        path = Path(folder) / f"file{FORMATS[name].suffix}"
        try:
            write_annotations(recording, path, name)
        except UserError as error:
            raise UserError(str(error).replace(str(path), "the file")) from None
        return path.read_bytes(), f"{Path(audio).stem}{FORMATS[name].suffix}"
