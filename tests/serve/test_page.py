"""The page in a browser."""

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
from servers import make_wav, serving
from tiny_training import encoder_conf, make_lively

from espnet_wsm.annotations import read_annotations
from espnet_wsm.data.corpora.preparation import read_corpus

ROOT = Path(__file__).parents[2]
SPEECH = ROOT / "egs/TEMPLATE/asr1/sample/fbbh-cen8.flac"
pytestmark = pytest.mark.browser


@pytest.fixture
def page_of(make_server, open_page):
    """``page_of(corpus=..., viewport=...)`` opens the page of a server of the counting model."""
    servers, pages = [], []

    def get(corpus: Path | None = None, queue: int = 20, **options):
        context = serving(make_server(corpus=corpus, queue=queue))
        servers.append(context)
        pages.append(open_page(context.__enter__(), **options))
        return pages[-1]

    yield get
    for page in pages:  # first, as a page complains of a server that has gone
        page.context.close()
    for context in servers:
        context.__exit__(None, None, None)


def wait_until(page, condition: str) -> None:
    """Wait for an expression to be true; ``wait_for_function`` evaluates in the page, which forbids it."""
    while not page.evaluate(condition):
        page.wait_for_timeout(20)


def upload(name: str, content: bytes) -> dict:
    return {"name": name, "mimeType": "audio/wav", "buffer": content}


def test_words_are_marked_and_said_by_more_than_colour(page_of):
    page = page_of()
    page.wait_for_selector("footer >> text=Recordings do not leave this computer")
    assert "nothing is stored" in page.inner_text("footer") and page.inner_text("#model") == "counter"
    page.set_input_files("#files", upload("talk.wav", make_wav(32000)))
    page.wait_for_selector(".word")
    assert page.locator(".word").all_inner_texts() == ["hears", "32000", "samples"]
    (doubtful,) = page.locator(".doubtful").all()
    assert doubtful.get_attribute("aria-label") == "hears, confidence 0.25, doubtful"
    assert doubtful.get_attribute("title") == "confidence 0.25"
    line = doubtful.evaluate("span => getComputedStyle(span).textDecorationLine")
    assert line == "underline"
    page.fill(".threshold", "0.95")
    assert page.locator(".doubtful").count() == 2 and page.inner_text("output") == "0.95"
    page.fill(".threshold", "0")
    assert page.locator(".doubtful").count() == 0 and page.is_disabled(".next")
    assert not page.is_visible(".corpus")


def test_keys_alone_move_play_and_correct(page_of):
    page = page_of()
    page.set_input_files("#files", upload("talk.wav", make_wav(32000)))
    page.wait_for_selector(".word")
    page.focus(".word >> nth=0")
    page.keyboard.press("ArrowRight")
    assert page.evaluate("document.activeElement.textContent") == "32000"
    page.keyboard.press("Enter")
    wait_until(page, "!document.querySelector('audio').paused")
    assert page.evaluate("document.querySelector('audio').currentTime") >= 0.8
    page.keyboard.press("e")
    assert page.evaluate("getSelection().toString()") == "32000"
    page.keyboard.type("many <b>")
    page.keyboard.press("Enter")
    assert page.locator(".word").all_inner_texts() == ["hears", "many", "<b>", "samples"]
    assert page.locator(".text b").count() == 0
    page.keyboard.press("F2")
    page.keyboard.type("nothing")
    page.keyboard.press("Escape")
    assert page.locator(".word").all_inner_texts() == ["hears", "many", "<b>", "samples"]


def test_names_and_faults_are_shown_as_text(page_of):
    page = page_of()
    page.set_input_files("#files", upload("<img src=x onerror=alert(1)>.wav", b"no audio"))
    page.wait_for_selector(".failed")
    assert "is not audio that can be read" in page.inner_text(".say")
    assert page.locator("img:not([alt=''])").count() == 0 and "<img" in page.inner_text("h2")
    page.set_input_files("#files", upload("empty.wav", b""))
    page.wait_for_selector("text=The file is empty")
    page.set_input_files("#files", upload("large.wav", bytes(2_000_001)))
    page.wait_for_selector("text=It has more than 2 MB")


def test_more_recordings_than_the_queue_takes_wait_in_the_page(page_of, model, monkeypatch):
    monkeypatch.setattr("espnet_wsm.serve.app.RETRY_AFTER", 1)
    model.gate.clear()
    page = page_of(queue=2)
    page.expected = ["503"]
    page.set_input_files("#files", [upload(f"{size}.wav", make_wav(size)) for size in range(4000, 4500, 100)])
    page.wait_for_selector("text=Waiting for a place in the queue")
    page.wait_for_selector("text=Waiting: one recording before it")
    page.click("[aria-label='Remove 4300.wav']")
    model.gate.set()
    wait_until(page, "document.querySelectorAll('.utterances .word').length == 12")
    names, texts = page.locator("h2").all_inner_texts(), page.locator(".text").all_inner_texts()
    assert names == ["4400.wav", "4200.wav", "4100.wav", "4000.wav"]
    assert [text.strip() for text in texts] == [f"hears {name[:4]} samples" for name in names]


def test_a_silent_recording_can_be_written_down(page_of, model, monkeypatch):
    from espnet_wsm.recognition.transcript import Transcript

    monkeypatch.setattr(model, "detail_all", lambda *_, **__: iter([Transcript("", (), 2.0)]))
    page = page_of()
    page.set_input_files("#files", upload("talk.wav", make_wav(32000)))
    page.wait_for_selector("text=No speech was found")
    page.click(".edit")
    page.keyboard.type("said by hand")
    page.keyboard.press("Enter")
    words = page.eval_on_selector_all(".word", "all => all.map(span => span.word)")
    assert [word["text"] for word in words] == ["said", "by", "hand"]
    assert words[0]["start"] == 0 and words[-1]["end"] == 2


def test_the_page_says_that_the_server_has_gone(make_server, open_page, model):
    model.gate.clear()
    app = make_server()
    with serving(app) as address:
        page = open_page(address)
        page.expected = ["ERR_", "Failed to load"]
        page.set_input_files("#files", upload("talk.wav", make_wav(4000)))
        page.wait_for_selector("text=Transcribing")
        app.jobs.stop()
        page.wait_for_selector("text=the server has been stopped")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("one two three", [(0, 1, "one", 0.5), (1, 2, "two", 0.6), (3, 4, "three", 0.7)]),
        ("one zwei three", [(0, 1, "one", 0.5), (1, 2, "zwei", None), (3, 4, "three", 0.7)]),
        ("one three", [(0, 1, "one", 0.5), (3, 4, "three", 0.7)]),
        ("one ab cd ef", [(0, 1, "one", 0.5), (1, 2, "ab", None), (2, 3, "cd", None), (3, 4, "ef", None)]),
        ("one two abc", [(0, 1, "one", 0.5), (1, 2, "two", 0.6), (3, 4, "abc", None)]),
        ("one a two", [(0, 0.67, "one", 0.5), (0.67, 1, "a", None), (1, 2, "two", 0.6)]),
        ("abc one", [(0, 0.5, "abc", None), (0.5, 1, "one", 0.5)]),
        ("  ", []),
        ("x", [(0, 4, "x", None)]),
    ],
    ids=["same", "replaced", "removed", "three for two", "last", "inserted", "in front", "empty", "all else"],
)  # fmt: skip
def test_corrected_words_keep_the_times_of_the_others(page_of, text, expected):
    words = [(0, 1, "one", 0.5), (1, 2, "two", 0.6), (3, 4, "three", 0.7)]
    keys = ("start", "end", "text", "confidence")
    segment = {
        "start": 0,
        "end": 4,
        "text": "one two three",
        "words": [dict(zip(keys, w, strict=True)) for w in words],
    }
    found = page_of().evaluate(
        "async ([segment, text]) => (await import('/words.js')).realign(segment, text)", [segment, text]
    )
    got = [(word["start"], word["end"], word["text"], word.get("confidence")) for word in found["words"]]
    assert [each[2:] for each in got] == [each[2:] for each in expected]
    assert np.allclose([each[:2] for each in got], [each[:2] for each in expected], atol=0.15)
    assert (found["start"], found["end"], found["text"]) == (0, 4, " ".join(text.split()))


def test_the_microphone_becomes_a_wav_file(page_of, model, tmp_path):
    page = page_of(corpus=tmp_path / "corpus", permissions=["microphone"])
    page.click("#record")
    wait_until(page, "document.getElementById('recorded').textContent == '0:02'")
    assert page.evaluate("document.getElementById('level').value") >= 0
    page.click("#stop")
    page.wait_for_selector(".word")
    assert re.fullmatch(r"recording \d{4}-\d\d-\d\d \d\d\.\d\d\.\d\d\.wav", page.inner_text("h2"))
    assert 2 * 16000 <= model.heard[0] < 20 * 16000
    page.click(".corpus button")
    page.wait_for_selector(".added >> text=Added one utterance")
    (file,) = (tmp_path / "corpus/audio").iterdir()
    samples, _ = soundfile.read(file)
    assert np.abs(samples).max() > 0.05  # Chromium's device beeps
    page.click("#record")
    page.wait_for_selector("#discard")
    page.click("#discard")
    assert page.is_visible("#choose_files") and page.locator(".card").count() == 1


def test_text_grows_while_somebody_speaks(page_of, tmp_path):
    page = page_of(permissions=["microphone"])
    assert not page.is_visible("#live")
    page.click("#record")
    wait_until(page, "document.getElementById('tail').textContent == 'a'")  # a beep that is not final
    wait_until(page, "document.getElementById('final').textContent == 'a\\n'")
    wait_until(page, "document.getElementById('final').textContent == 'a\\na\\n'")
    assert page.inner_text("#late") == "" and page.is_visible("#live")
    page.click("#discard")
    assert not page.is_visible("#live")


@pytest.mark.slow
def test_from_a_recording_to_a_corpus_with_a_trained_model(
    corpus,
    training_arguments,
    upstream_path,
    tmp_path,
    open_page,
):
    """The command itself, until Ctrl-C."""
    from espnet_wsm.bin import asr_train

    exp = tmp_path / "exp/asr_x"
    asr_train.main(training_arguments(exp, encoder_conf=encoder_conf(upstream_path("hf_hubert", True))))
    make_lively(exp)
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    command = [sys.executable, "-m", "espnet_wsm", "serve", "--model", str(exp), "--port", "0"]
    with subprocess.Popen(
        [*command, "--corpus", str(tmp_path / "kept"), "--dtype", "float32"],
        stderr=subprocess.PIPE, text=True, env=os.environ | {"TMPDIR": str(scratch)},
    ) as server:  # fmt: skip
        try:
            said = next(line for line in server.stderr if line.startswith("open "))
            page = open_page(said.split()[1], accept_downloads=True)
            page.expected = ["ERR_", "Failed to load"]
            use_page(page, tmp_path)
            server.send_signal(signal.SIGINT)
            assert server.wait(30) == 0
        finally:
            server.kill()
    assert list(scratch.glob("espnet_wsm_serve_*")) == []


def use_page(page, folder: Path) -> None:
    names = ["fbbh-cen8.flac", "mmxg-cen8.flac", "mwhw-cen8.flac"]
    page.set_input_files("#files", [SPEECH.with_name(name) for name in names])
    wait_until(page, "document.querySelectorAll('.result:not([hidden])').length == 3")
    card = page.locator(".card", has_text=names[0])
    words = card.locator(".word")
    assert words.count() > 3
    third = words.nth(2)
    start = third.evaluate("span => span.word.start")
    card.locator("audio").evaluate(
        "audio => { audio.heard = []; audio.onseeked = () => audio.heard.push(audio.currentTime); }"
    )
    third.click()
    wait_until(page, "[...document.querySelectorAll('audio')].some(audio => audio.heard?.length)")
    (heard,) = card.locator("audio").evaluate("audio => audio.heard")
    assert start > 0 and abs(heard - start) < 0.05
    assert not card.locator("audio").evaluate("audio => audio.paused")
    third.dblclick()
    page.keyboard.type("corrected")
    page.keyboard.press("Enter")
    with page.expect_download() as download:
        card.locator("[data-format=srt]").click()
    assert download.value.suggested_filename == "fbbh-cen8.srt"
    file = folder / "fbbh-cen8.srt"
    download.value.save_as(file)
    text = " ".join(each.text for tier in read_annotations(file).tiers for each in tier.segments)
    assert "corrected" in " ".join(text.split())
    for number, name in enumerate(names):
        card = page.locator(".card", has_text=name)
        card.locator(".edit").first.click()
        page.keyboard.type(f" text {number}")
        page.keyboard.press("Enter")
        card.locator("[name=speaker]").fill(name[:4])
        card.locator("[type=submit]").click()
        card.locator(".added").wait_for()
    assert f"--manifest {folder}/kept/manifest.csv" in card.locator("pre").inner_text()
    found = read_corpus(folder / "kept/manifest.csv")
    utterances = [each for split in found.splits.values() for each in split]
    assert found.dropped == [] and {each.speaker for each in utterances} == {name[:4] for name in names}
    assert any("corrected" in each.text for each in utterances)
