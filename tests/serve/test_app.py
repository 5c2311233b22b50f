"""What the server answers, and what it refuses."""

import json
import re
import time
from concurrent.futures import ThreadPoolExecutor
from importlib import resources

import httpx2
import pytest
from servers import HOST, make_wav, say, send, serving, wait_until_ended

from espnet_wsm.annotations import read_annotations
from espnet_wsm.data.corpora.preparation import read_corpus
from espnet_wsm.serve.app import DOWNLOADS, PAGE


def text_of(state: dict) -> str:
    return " ".join(segment["text"] for segment in state["annotations"]["tiers"][0]["segments"])


def test_the_page_is_served_from_a_fixed_list_with_headers(make_server, client):
    browser = client(make_server())
    assert {file.name for file in (resources.files("espnet_wsm.serve") / "page").iterdir()} == {
        name for name, _ in PAGE.values()
    }
    for path, (_, kind) in PAGE.items():
        answer = browser.get(path)
        assert answer.status_code == 200 and answer.headers["content-type"].startswith(kind)
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["referrer-policy"] == "no-referrer"
        assert "default-src 'self'" in answer.headers["content-security-policy"]
        assert not re.search(r"(src|href|from|import)\W+https?:", answer.text)
    for path in ("/setup.py", "/page/app.js", "/app.py", "/..%2fapp.py", "/%2e%2e/app.py", "//etc/passwd"):
        assert browser.get(path).status_code == 404
    assert "nosniff" in browser.get("/nothing").headers["x-content-type-options"]


def test_a_recording_becomes_annotations_and_its_audio_is_gone(make_server, client):
    app = make_server()
    browser = client(app)
    taken = send(browser, make_wav(16000))
    assert taken.status_code == 202 and taken.json()["name"] == "talk.wav"
    state = wait_until_ended(browser, taken.json()["id"])
    assert state["state"] == "done" and text_of(state) == "hears 16000 samples"
    assert state["annotations"]["audio"] == "talk.wav" and state["annotations"]["duration"] == 1.0
    assert list(app.uploads.iterdir()) == []
    assert browser.delete(f"/api/jobs/{state['id']}").status_code == 204
    for answer in (browser.get(f"/api/jobs/{state['id']}"), browser.delete(f"/api/jobs/{state['id']}")):
        assert answer.status_code == 404 and "send it again" in answer.json()["error"]


def test_twenty_at_once_get_their_own_results(make_server, model):
    """All are sent before the first one is recognised."""
    app = make_server(queue=20)
    model.gate.clear()
    sizes = [4000 + 100 * number for number in range(20)]
    with serving(app) as address, httpx2.Client(base_url=address, timeout=60) as browser:

        def take(size: int) -> dict:
            return send(browser, make_wav(size), f"{size}.wav").json()

        with ThreadPoolExecutor(20) as people:
            taken = list(people.map(take, sizes))
        assert len({job["id"] for job in taken}) == 20
        model.gate.set()
        for size, job in zip(sizes, taken, strict=True):
            state = wait_until_ended(browser, job["id"])
            assert state["name"] == f"{size}.wav" and text_of(state) == f"hears {size} samples"
    assert sorted(model.heard) == sizes and list(app.uploads.iterdir()) == []


def test_a_full_queue_says_when_to_come_back(make_server, client, model):
    app = make_server(queue=3)
    browser = client(app)
    model.gate.clear()
    first = send(browser, make_wav(4000)).json()
    while browser.get(f"/api/jobs/{first['id']}").json()["state"] != "working":
        time.sleep(0.01)
    waiting = [send(browser, make_wav(4000)).json() for _ in range(3)]
    assert [job["before"] for job in waiting] == [1, 2, 3]
    refused = send(browser, make_wav(4000))
    assert refused.status_code == 503 and int(refused.headers["retry-after"]) > 0
    assert refused.json()["error"] == "as many recordings wait as may: try again in a while"
    assert len(list(app.uploads.iterdir())) == 4
    assert browser.delete(f"/api/jobs/{waiting[0]['id']}").status_code == 204
    assert send(browser, make_wav(5000)).status_code == 202
    model.gate.set()
    assert wait_until_ended(browser, waiting[2]["id"])["state"] == "done"


def test_news_come_when_something_has_changed(make_server, client, model, monkeypatch):
    monkeypatch.setattr("espnet_wsm.serve.app.LOOK_EVERY", 0.01)
    browser = client(make_server())
    model.gate.clear()
    first, second = (send(browser, make_wav(4000)).json()["id"] for _ in range(2))

    def ask(seen: str = "") -> dict:
        return browser.get(f"/api/jobs?ids={first},{second},nobody&seen={seen}").json()

    news = ask()
    while [job["state"] for job in news["jobs"]] != ["working", "waiting", "unknown"]:
        news = ask(news["tag"])
    with ThreadPoolExecutor(1) as people:
        later = people.submit(ask, news["tag"])
        model.gate.set()
        assert later.result()["tag"] != news["tag"]
    while [job["state"] for job in news["jobs"]] != ["done", "done", "unknown"]:
        news = ask(news["tag"])
    assert "annotations" not in news["jobs"][0]


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"no audio at all", r"evil\.wav is not audio that can be read"),
        (b"", r"evil\.wav is empty"),
        (make_wav(16000)[:5000], r"evil\.wav is truncated or damaged"),
        (make_wav(40 * 16000), r"evil\.wav lasts 0\.7 minutes, and 0\.5 are taken here"),
    ],
    ids=["no audio", "empty", "cut", "long"],
)
def test_what_cannot_be_recognised_is_named(make_server, client, content, sentence):
    app = make_server()
    browser = client(app)
    state = wait_until_ended(browser, send(browser, content, "../evil.wav").json()["id"])
    assert state["state"] == "failed" and re.match(sentence, state["message"])
    assert str(app.uploads) not in state["message"] and list(app.uploads.iterdir()) == []


def test_a_failure_of_the_model_ends_one_recording_only(make_server, client, model, monkeypatch, capfd):
    browser = client(make_server())
    with monkeypatch.context() as broken:
        broken.setattr(model, "detail_all", lambda *_, **__: 1 / 0)
        state = wait_until_ended(browser, send(browser, make_wav(4000)).json()["id"])
    assert state["message"] == "talk.wav could not be recognised: ZeroDivisionError: division by zero"
    assert "ZeroDivisionError" in capfd.readouterr().err
    assert wait_until_ended(browser, send(browser, make_wav(4000)).json()["id"])["state"] == "done"
    assert browser.get("/health").json()["jobs"] == {
        "arriving": 0, "waiting": 0, "working": 0, "done": 1, "failed": 1, "stopped": 0,
    }  # fmt: skip


@pytest.mark.parametrize(
    "name",
    [
        "../../x.wav",
        "/etc/passwd.wav",
        "a\0b.wav",
        "n" * 300 + ".wav",
        "<script>alert(1)</script>.wav",
        "..",
        "|",
    ],
)
def test_hostile_names_stay_names(make_server, client, name, tmp_path):
    app = make_server(corpus=tmp_path / "corpus")
    browser = client(app)
    before = {path for path in tmp_path.rglob("*") if path.is_file()}
    state = wait_until_ended(browser, send(browser, make_wav(4000), name).json()["id"])
    shown = state["name"]
    assert shown and not set('/\\\0<>:"|?*') & set(shown) and len(shown) <= 120 and shown.strip(". ") == shown
    fields = {"annotations": json.dumps(say("text", audio=name.replace("\0", "")))}
    added = browser.post("/api/corpus", data=fields, files={"audio": (name, make_wav(16000))})
    assert added.status_code == 200, added.text
    corpus = tmp_path / "corpus"
    new = {path for path in tmp_path.rglob("*") if path.is_file()} - before
    assert new == {corpus / ".lock", corpus / "manifest.csv", *(corpus / "audio").glob("*.flac")}
    file = browser.post("/api/files/eaf", json=say("text", audio=name.replace("\0", "")))
    assert file.status_code == 200 and "/" not in file.headers["content-disposition"]


def test_uploads_that_are_too_large_are_stopped_as_they_arrive(make_server):
    app = make_server(megabytes=0.1)
    sent = []

    def stream():
        yield b'--x\r\nContent-Disposition: form-data; name="audio"; filename="a.wav"\r\n\r\n'
        for _ in range(100):
            sent.append(1)
            yield bytes(10_000)

    form = {"content-type": "multipart/form-data; boundary=x"}
    with serving(app) as address, httpx2.Client(base_url=address, timeout=60) as browser:
        assert send(browser, make_wav(40_000)).status_code == 202
        named = browser.post("/api/jobs", content=bytes(100_001), headers=form)
        assert named.status_code == 413 and "--max_megabytes" in named.json()["error"]
        counted = browser.post("/api/jobs", content=stream(), headers=form)
        assert counted.status_code == 413 and counted.json() == named.json()
        while any(app.uploads.iterdir()):  # of the first, which is recognised
            time.sleep(0.01)
    assert app.jobs.count()["arriving"] == 0


def test_an_upload_that_breaks_off_leaves_nothing(make_server):
    app = make_server(queue=1)
    with serving(app) as address:

        def break_off():
            yield b'--x\r\nContent-Disposition: form-data; name="audio"; filename="a.wav"\r\n\r\n'
            raise ConnectionAbortedError

        form = {"content-type": "multipart/form-data; boundary=x"}
        with pytest.raises(ConnectionAbortedError):
            httpx2.post(f"{address}/api/jobs", content=break_off(), headers=form)
        with httpx2.Client(base_url=address) as browser:
            while app.jobs.count()["arriving"]:
                time.sleep(0.01)
            assert list(app.uploads.iterdir()) == []
            assert wait_until_ended(browser, send(browser, make_wav(4000)).json()["id"])["state"] == "done"


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"content": b"{}"}, 415),
        ({"data": {"audio": "text"}, "files": {"other": ("a.wav", b"RIFF")}}, 400),
        ({"files": [("audio", ("a.wav", b"RIFF")), ("audio", ("b.wav", b"RIFF"))]}, 400),
    ],
    ids=["no form", "no file", "two files"],
)
def test_other_bodies_are_refused(make_server, client, body, status):
    app = make_server()
    answer = client(app).post("/api/jobs", **body)
    assert answer.status_code == status and answer.json()["error"]
    assert list(app.uploads.iterdir()) == []


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"host": "evil.example"}, 421),
        ({"host": "127.0.0.1.evil.example:8000"}, 421),
        ({"host": "192.168.1.7"}, 421),
        ({"host": "["}, 421),
        ({"origin": "http://evil.example"}, 403),
        ({"origin": "null"}, 403),
        ({"origin": f"http://{HOST}:9000"}, 403),
        ({"sec-fetch-site": "cross-site"}, 403),
        ({"sec-fetch-site": "same-site"}, 403),
        ({"origin": f"http://{HOST}", "sec-fetch-site": "same-origin"}, 202),
        ({"host": "localhost:8000", "origin": "http://localhost:8000"}, 202),
        ({"host": "[::1]:8000"}, 202),
    ],
)
def test_requests_of_other_pages_are_refused(make_server, client, headers, status):
    answer = client(make_server()).post(
        "/api/jobs", files={"audio": ("a.wav", make_wav(4000))}, headers=headers
    )
    assert answer.status_code == status
    assert "frame-ancestors 'none'" in answer.headers["content-security-policy"]


@pytest.mark.parametrize("name", DOWNLOADS)
def test_corrected_utterances_are_written_in_each_format(make_server, client, name, tmp_path):
    answer = client(make_server()).post(
        f"/api/files/{name}", json=say("hears <b> & ünïcode", audio="tälk.wav")
    )
    assert answer.status_code == 200
    suffix = ".TextGrid" if name == "textgrid" else f".{name}"
    assert answer.headers["content-disposition"] == f"attachment; filename*=UTF-8''t%C3%A4lk{suffix}"
    if name == "txt":
        assert answer.text == "hears <b> & ünïcode\n"
        return
    file = tmp_path / f"file{suffix}"
    file.write_bytes(answer.content)
    read = read_annotations(file)
    assert [segment.text for tier in read.tiers for segment in tier.segments if segment.text] == [
        "hears <b> & ünïcode"
    ]
    assert read.audio == (None if name in ("srt", "vtt", "textgrid") else "tälk.wav")


@pytest.mark.parametrize(
    ("format", "content", "status", "sentence"),
    [
        ("srt", b"{", 422, "line 1: is not JSON"),
        ("srt", b"\xff\xfe\xff", 422, "is not utf-16"),
        ("srt", json.dumps(say("text", 0.9, 0.1)).encode(), 422, "before 0.9 s, where it starts"),
        ("srt", json.dumps({"format": "other"}).encode(), 422, "is not one of these files"),
        ("exe", b"{}", 404, "there is no format"),
        ("../eaf", b"{}", 404, ""),
    ],
)
def test_wrong_annotations_are_named(make_server, client, format, content, status, sentence):
    answer = client(make_server()).post(f"/api/files/{format}", content=content)
    assert answer.status_code == status and sentence in answer.json()["error"]
    assert "/tmp" not in answer.json()["error"]


def test_annotations_have_a_limit_of_their_own(make_server, client, monkeypatch):
    monkeypatch.setattr("espnet_wsm.serve.app.MOST_ANNOTATIONS", 1000)
    answer = client(make_server()).post("/api/files/srt", content=bytes(1001))
    assert answer.status_code == 413


def test_what_is_added_to_a_corpus_is_read_by_recipes(make_server, client, tmp_path):
    app = make_server(corpus=tmp_path / "my corpus")
    browser = client(app)
    told = browser.get("/api/settings").json()
    assert told["corpus"] == str(tmp_path / "my corpus") and not (tmp_path / "my corpus").exists()
    assert [one["name"] for one in told["formats"]] == list(DOWNLOADS)
    fields = {"annotations": json.dumps(say('she said, "mhoro"')), "speaker": "Anna"}
    answer = browser.post("/api/corpus", data=fields, files={"audio": ("talk.wav", make_wav(16000))})
    assert answer.status_code == 200, answer.text
    added = answer.json()
    assert (added["utterances"], added["replaced"], added["total"]) == (1, 0, 1)
    assert added["commands"][0] == (
        f"tools/new_corpus.sh my_corpus --lang CODE --manifest '{tmp_path}/my corpus/manifest.csv'"
    )
    for number in (1, 2):  # three texts are the least that makes three sets
        fields = {"annotations": json.dumps(say(f"text {number}"))}
        files = {"audio": ("talk.wav", make_wav(16000 + number))}
        assert browser.post("/api/corpus", data=fields, files=files).json()["total"] == 1 + number
    found = read_corpus(tmp_path / "my corpus/manifest.csv")
    utterances = {each.text: each for split in found.splits.values() for each in split}
    assert utterances.keys() == {'she said, "mhoro"', "text 1", "text 2"} and found.dropped == []
    first = utterances['she said, "mhoro"']
    assert (first.speaker, first.start, first.end) == ("Anna", 0.0, 1.0)
    assert list(app.uploads.iterdir()) == []


def test_without_a_corpus_nothing_is_stored(make_server, client):
    fields = {"annotations": json.dumps(say("text"))}
    browser = client(make_server())
    answer = browser.post("/api/corpus", data=fields, files={"audio": ("talk.wav", make_wav(4000))})
    assert answer.status_code == 404 and "--corpus DIR" in answer.json()["error"]
    assert browser.get("/api/settings").json()["corpus"] is None


@pytest.mark.parametrize(
    ("annotations", "audio", "sentence"),
    [
        (json.dumps(say("  ")), make_wav(16000), "talk.wav has no text"),
        (json.dumps(say("late", 5, 6)), make_wav(16000), "'late' begins at 5 s, and talk.wav ends at 1 s"),
        (json.dumps(say("text")), b"no audio", "talk.wav is not audio"),
        ("", make_wav(16000), "is not JSON"),
    ],
)
def test_a_corpus_takes_nothing_that_is_wrong(make_server, client, tmp_path, annotations, audio, sentence):
    corpus = tmp_path / "corpus"
    app = make_server(corpus=corpus)
    fields = {"annotations": annotations}
    answer = client(app).post("/api/corpus", data=fields, files={"audio": ("talk.wav", audio)})
    assert answer.status_code == 422 and sentence in answer.json()["error"]
    assert str(tmp_path) not in answer.json()["error"]
    assert not corpus.exists() and list(app.uploads.iterdir()) == []


def test_a_disk_that_is_full_is_named(make_server, client, tmp_path, monkeypatch):
    def fail(*_) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("espnet_wsm.serve.corpus.write_flac", fail)
    fields = {"annotations": json.dumps(say("text"))}
    browser = client(make_server(corpus=tmp_path / "corpus"))
    answer = browser.post("/api/corpus", data=fields, files={"audio": ("talk.wav", make_wav(16000))})
    assert answer.status_code == 507 and "No space left on device" in answer.json()["error"]
    assert not (tmp_path / "corpus/manifest.csv").exists()


def test_a_fault_of_ours_is_told_without_its_details(make_server, client, monkeypatch):
    app = make_server()
    monkeypatch.setattr(app.jobs, "describe", lambda id: 1 / 0)
    answer = client(app).get("/api/jobs/x")
    assert answer.status_code == 500 and "ZeroDivision" not in answer.text
    assert "nosniff" in answer.headers["x-content-type-options"]


def test_health_is_about_the_thread_that_recognises(make_server, client):
    app = make_server()
    browser = client(app)
    assert browser.get("/health").json()["status"] == "ok"
    assert app.jobs.close(10)
    answer = browser.get("/health")
    assert answer.status_code == 503 and answer.json()["status"] == "failed"
    assert send(browser, make_wav(4000)).status_code == 503
