"""The recogniser of ELAN: a test that plays ELAN installs it, starts it, reads what it says, and cancels it.

How ELAN writes and reads is taken from the sources of ELAN 6.9: LocalRecognizer, RecTierWriter, XmlTierIO.
"""

import io
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from xml.etree import ElementTree
from xml.sax.saxutils import escape

import numpy as np
import pytest
import soundfile
import torch
from hypothesis import given
from hypothesis import strategies as st
from test_transcriber import noise, recipe, trained  # noqa: F401

import espnet_wsm
from espnet_wsm.annotations import Segment, Word
from espnet_wsm.annotations.avatech import read_parameters, read_spans, write_tier
from espnet_wsm.errors import UserError
from espnet_wsm.recognition import elan
from espnet_wsm.recognition.transcript import Transcript

ROOT = Path(__file__).parents[2]
SCHEMA = 'xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" xsi:noNamespaceSchemaLocation="file:avatech-'
# What ELAN writes for the tier that is chosen: texts are not escaped.
INPUT_TIER = f"""<?xml version="1.0" encoding="UTF-8"?>
<TIER {SCHEMA}tier.xsd" columns="all_tiers">
\t<span start="0.250" end="1.001"><v>tea & <unk></v></span>
\t<span start="1.500" end="3.750"><v></v></span>
\t<span start="4.000" end="4.000"><v>nothing</v></span>
\t<span start="20.000" end="21.000"><v>behind the audio</v></span>
</TIER>
"""
SPANS = [(250, 1001), (1500, 3750), (4000, 4000), (20000, 21000)]


def show_parameters(**values: object) -> str:
    """What ELAN writes to standard input; a file or number that is not chosen has no value."""
    lines = ['<?xml version="1.0" encoding="UTF-8"?>', f'<PARAM {SCHEMA}call.xsd">']
    lines.append('<param name="InvocationContext">espnet_wsm 2026-11-29 14:23:09+0200</param>')
    for name, value in values.items():
        shown = escape(str(value), {"'": "&apos;", '"': "&quot;"})
        lines.append(f'<param name="{name}">{shown}</param>')
    return "\n".join([*lines, "</PARAM>", ""])


def read_as_elan(path: Path) -> dict[str, list[tuple[int, int, str]]]:
    """The tiers of a file by name, with times in milliseconds, in ELAN's arithmetic of 32 bits."""

    def parse(time: str) -> int:
        return int(np.float32(1000) * np.float32(time)) if "." in time else int(time)

    root = ElementTree.parse(path).getroot()
    assert root.tag == "TIER"
    columns: dict[str, list[tuple[int, int, str]]] = {name: [] for name in root.attrib["columns"].split()}
    for span in root.findall("span"):
        times = parse(span.attrib["start"]), parse(span.attrib["end"])
        for column, value in zip(columns.values(), span.findall("v"), strict=True):
            column.append((*times, (value.text or "").strip()))
    return columns


class Elan:
    """ELAN: starts the program of an extension, and follows what it says."""

    def __init__(self, extension: Path):
        description = ElementTree.parse(extension / "espnet_wsm.cmdi").find(".//{*}recognizer")
        # ELAN divides the command at white space and starts it in the folder, errors among the output.
        self.process = subprocess.Popen(
            description.attrib["runLinux"].split(), cwd=extension, encoding="utf-8",
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip
        self.report: list[str] = []
        self.progress: list[float] = []

    def send(self, parameters: str) -> None:
        self.process.stdin.write(parameters)
        self.process.stdin.close()

    def read_line(self) -> bool:
        """Take a line; returns whether the recogniser goes on."""
        line = self.process.stdout.readline()
        assert line, f"unexpected end of transmission after {self.report}"
        self.report.append(line.rstrip("\n"))
        if line.startswith("PROGRESS:"):
            self.progress.append(float(line.split()[1]))
        return self.report[-1] not in ("RESULT: DONE.", "RESULT: FAILED.")


@pytest.fixture
def extension(recipe, tmp_path, plain_shell) -> Path:  # noqa: F811
    """The extension as it is installed, with a model."""
    (tmp_path / "ELAN 6.9/lib/app/extensions").mkdir(parents=True)
    words = [ROOT / "tools/elan/install.sh", "--model", "exp/en/asr_x", "--elan", tmp_path / "ELAN 6.9"]
    words += ["--", "--chunk_seconds", "8", "--dtype", "float32"]
    result = plain_shell(words, recipe)
    assert result.returncode == 0, result.stderr
    return tmp_path / "ELAN 6.9/lib/app/extensions/espnet_wsm"


@pytest.mark.slow
def test_segments_of_a_tier_are_recognised_and_a_run_is_cancelled(extension, recipe, tmp_path):  # noqa: F811
    samples = noise(19.5)
    talk, chosen, output = (tmp_path / name for name in ("it's a & b.wav", "in.xml", "out.xml"))
    soundfile.write(talk, samples, 16000, subtype="FLOAT")
    chosen.write_text(INPUT_TIER, encoding="utf-8")
    output.touch()
    process = Elan(extension)
    process.send(show_parameters(source=talk, segments=chosen, pause=0.6, channel="mix", output_tier=output))
    while process.read_line():
        pass
    assert process.report[-1] == "RESULT: DONE." and process.process.wait() == 0, process.report
    assert process.progress == sorted(process.progress) and len(process.progress) >= 4
    assert 0 < process.progress[0] and process.progress[-1] < 1
    transcriber = espnet_wsm.load("exp/en/asr_x", chunk_seconds=8, dtype="float32")
    texts, sure = read_as_elan(output).values()
    assert [row[:2] for row in texts] == [row[:2] for row in sure] == SPANS
    expected = [transcriber.detailed(samples[start * 16 : end * 16]) for start, end in SPANS[:2]]
    assert [row[2] for row in texts] == [*(one.text for one in expected), "", ""]
    assert [row[2] for row in sure] == [*(f"{one.confidence:.3f}" for one in expected), "", ""]
    assert all(one.text for one in expected)

    output.write_text("")
    process = Elan(extension)
    process.send(show_parameters(source=talk, segments="", pause=0.6, output_tier=output))
    while process.read_line() and "recognising" not in process.report[-1]:
        pass
    process.process.terminate()  # as Java's Process.destroy()
    assert process.process.wait(timeout=30) == -15
    process.process.stdout.close()
    assert output.read_text() == ""
    assert sorted(path.name for path in tmp_path.glob("*.xml*")) == ["in.xml", "out.xml"]


class Scripted:
    """In place of a model: two words in each part, after each of which it tells that it is done."""

    def __init__(self):
        encoder = torch.nn.Identity()
        self.decoder = SimpleNamespace(calibration=None, model=SimpleNamespace(encoder=encoder))
        self.calls = 0

    def detail_all(self, parts, advance):
        for part in parts:
            self.calls += 1
            advance(len(part) / 16000)
            words = (Word(0.1, 0.4, "a<b", 0.5), Word(1.1, 1.4, "ç", 1.0))
            yield Transcript("a<b ç", words, len(part) / 16000)


@pytest.fixture
def model(monkeypatch) -> Scripted:
    scripted = Scripted()
    monkeypatch.setattr(elan, "load_model", lambda args: scripted)
    return scripted


@pytest.fixture
def talk(tmp_path) -> Path:
    soundfile.write(tmp_path / "talk.wav", np.stack([noise(3, 8000)] * 2, 1), 8000)
    return tmp_path / "talk.wav"


def play(monkeypatch, capsys, parameters: str, *words: str) -> tuple[int, list[str], str]:
    """Run the program here: its status, what it prints, and its errors."""
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(parameters.encode())))
    code = 0
    try:
        elan.main(["--model", "m", *words])
    except SystemExit as exit_:
        code = exit_.code
    captured = capsys.readouterr()
    return code, captured.out.splitlines(), captured.err


def test_without_segments_annotations_end_at_pauses(model, talk, tmp_path, monkeypatch, capsys):
    output = tmp_path / "out.xml"
    for pause, rows in (
        ("0.8", [(100, 1400, "a<b ç")]),
        ("1.4E-45", [(100, 400, "a<b"), (1100, 1400, "ç")]),  # ELAN's for none: 0.6
    ):
        parameters = show_parameters(source=talk, segments="", pause=pause, channel="2", output_tier=output)
        code, lines, _ = play(monkeypatch, capsys, parameters, "--tier", "my asr")
        assert code == 0 and lines[-2:] == [f"INFO: {len(rows)} annotations", "RESULT: DONE."]
        tiers = read_as_elan(output)
        assert list(tiers) == ["my_asr", "my_asr_confidence"] and tiers["my_asr"] == rows
    assert tiers["my_asr_confidence"] == [(100, 400, "0.500"), (1100, 1400, "1.000")]
    assert "PROGRESS: 0.980 3 of 3 s" in lines
    assert not model.decoder.model.encoder._forward_hooks


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"source": ""}, "error: ELAN gave no source"),
        ({"output_tier": ""}, "error: ELAN gave no output_tier"),
        ({"source": "nowhere.wav"}, "error: nowhere.wav does not exist"),
        ({"segments": "nowhere.xml"}, "error: nowhere.xml cannot be read"),
        ({"channel": "left"}, "error: channel: 'left' is no channel"),
        ({"channel": "3"}, "has 2 channels and no channel 3"),
        ({"pause": "long"}, "error: pause is 'long', which is no number"),
        ({"output_tier": "/dev/null/out.xml"}, "error: /dev/null"),
    ],
)
def test_what_fails_is_said_and_the_last_line_tells_elan(
    model, talk, tmp_path, monkeypatch, capsys, change, message
):
    monkeypatch.chdir(tmp_path)
    values = {"source": talk, "output_tier": "out.xml"} | change
    code, lines, errors = play(monkeypatch, capsys, show_parameters(**values))
    assert code == 1 and lines[-1] == "RESULT: FAILED." and message in errors
    assert not Path("out.xml").exists()


def test_an_error_that_nobody_foresaw_is_in_the_report(model, talk, monkeypatch, capsys):
    monkeypatch.setattr(elan, "write_tier", lambda *_: 1 / 0)
    code, lines, errors = play(monkeypatch, capsys, show_parameters(source=talk, output_tier="out.xml"))
    assert code == 1 and lines[-1] == "RESULT: FAILED." and "ZeroDivisionError" in errors


def test_a_run_ends_when_elan_reads_no_more(model, talk, tmp_path, monkeypatch, capfd):
    """On Windows, cancelling ends run.bat and not the program that it has started."""
    chosen = tmp_path / "in.xml"
    chosen.write_text(
        "".join(f'<span start="{start}" end="{start + 100}"/>' for start in range(0, 2000, 100))
    )
    parameters = show_parameters(source=talk, segments=chosen, output_tier=tmp_path / "out.xml")
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(parameters.encode())))
    reading, writing = os.pipe()
    monkeypatch.setattr(sys, "stdout", os.fdopen(writing, "w"))
    hear = model.detail_all

    def hear_and_close(parts, advance):
        for transcript in hear(parts, advance):
            if model.calls == 3:
                os.close(reading)
            yield transcript

    model.detail_all = hear_and_close
    with pytest.raises(SystemExit) as exit_:
        elan.main(["--model", "m"])
    sys.stdout.close()
    assert exit_.value.code == 1 and model.calls == 4
    assert not (tmp_path / "out.xml").exists() and capfd.readouterr().err == ""


def test_tiers_that_elan_wrote_are_read(tmp_path):
    path = tmp_path / "in.xml"
    path.write_text(INPUT_TIER, encoding="utf-8")
    assert read_spans(path) == SPANS
    path.write_text(
        '<TIERS><TIER columns="a"><span  end="500" start="20"/><span start="1" end="2.5">', "utf-8"
    )
    assert read_spans(path) == [(1, 2500), (20, 500)]
    for content, message in (
        ("<TIER/>", "holds no segments: choose a tier with annotations, or none"),
        ('<span start="1.000"><v>', r"span 1 has the times start"),
        ('<span start="2.000" end="1.000">', r"span 1 has the times .*: give start and end"),
    ):
        path.write_text(content)
        with pytest.raises(UserError, match=message):
            read_spans(path)


def test_parameters_are_read_as_elan_writes_them():
    given = {"source": '/a/it\'s <b> & "c".wav', "segments": "", "pause": 0.6}
    context = {"InvocationContext": "espnet_wsm 2026-11-29 14:23:09+0200"}
    assert read_parameters(show_parameters(**given)) == context | {"source": given["source"], "pause": "0.6"}
    assert read_parameters("") == {}


TEXTS = st.text(
    st.characters(blacklist_categories=("Cc", "Cs", "Zs", "Zl", "Zp"), blacklist_characters="\ufffe\uffff")
)
TIMES = st.integers(0, 40_000_000)


@given(st.lists(st.tuples(TIMES, TIMES, TEXTS, st.integers(0, 1000)), max_size=3))
def test_any_tier_comes_back_to_the_millisecond(tmp_path_factory, rows):
    path = tmp_path_factory.getbasetemp() / "any.xml"
    rows = [(min(one, other), max(one, other), *rest) for one, other, *rest in rows]
    segments = [Segment(start / 1000, end / 1000, text, sure / 1000) for start, end, text, sure in rows]
    write_tier(path, "a b", segments)
    found = read_as_elan(path)
    assert found["a_b"] == [(start, end, text) for start, end, text, _ in rows]
    assert [float(row[2]) for row in found["a_b_confidence"]] == [sure / 1000 for *_, sure in rows]


def test_seconds_would_not_come_back():
    """Why milliseconds are written."""
    assert [time for time in range(1001, 1020) if int(np.float32(1000) * np.float32(time / 1000)) != time]
