"""What preview says, and that it writes nothing."""

import shlex
from pathlib import Path

import pytest
from field_recordings import make_tier, write_noise, write_recording

from espnet_wsm.bin import prepare_corpus, preview

ANNA = make_tier("A tx", (0.5, 2, "ndi na iwe"), (3, 4, "ehe (x)"), (5.25, 6, "mhoro ŋ"), speaker="Anna")
BORIS = make_tier("B tx", (1, 2.5, "mhoro"), (3.5, 4.5, "(?)"), (7, 8, "zvakanaka"), (8, 9, ""))


@pytest.fixture
def show(tmp_path, monkeypatch, capsys):
    """``show(words...)`` runs the command, which has to leave all files as they are."""
    monkeypatch.chdir(tmp_path)

    def run(*words: str, status: int = 0) -> str:
        before = {path: path.read_bytes() for path in Path().rglob("*") if path.is_file()}
        try:
            preview.main(list(words))
        except SystemExit as stop:
            assert stop.code == status
        else:
            assert status == 0
        assert {path: path.read_bytes() for path in Path().rglob("*") if path.is_file()} == before
        said = capsys.readouterr()
        return said.out + said.err

    return run


def test_tiers_speakers_minutes_characters_and_what_is_left_out(show):
    write_recording(Path("field/talk.eaf"), [ANNA, BORIS])
    said = show("field")
    for line in (
        "tiers taken: A tx (type utterances), B tx (type utterances)",
        "notes in brackets are removed from 1 utterance",
        "utterances: 5, 0.1 minutes; seconds: 0.8 to 1.5 (5 to 95 %), median 1.0",
        "speakers: 2: Anna 0.1 min, talk-B_tx 0.0 min",
        "characters: 31, 14 kinds",
        "ŋ (U+014B LATIN SMALL LETTER ENG) 1",
        "left out: 1 nothing but notes in brackets, the first field/talk.eaf: B tx at 3.50 s",
        "left out: 1 empty annotation, the first field/talk.eaf: B tx at 8.00 s",
        "go on: tools/new_corpus.sh NAME --lang CODE --manifest field\n",
    ):
        assert line in said
    assert "splits: train " in said


def test_the_command_to_go_on_with_takes_the_options_along(show, monkeypatch):
    write_recording(Path("my field/talk.eaf"), [ANNA, BORIS])
    write_recording(Path("my field/other.eaf"), [BORIS])
    Path("text.yaml").write_text("case: lower\n")
    words = [
        "my field/talk.eaf",
        "my field/other.eaf",
        "--tier",
        "A tx",
        "B*",
        "--padding=0.1",
        "--audio",
        "my field",
    ]
    said = show(*words, "--text_config", "text.yaml")
    command = shlex.split(said.splitlines()[-1].removeprefix("go on: "))
    assert command[:6] == ["tools/new_corpus.sh", "NAME", "--lang", "CODE", "--manifest", "my field"]
    assert command[6] == "--data_args"
    folder = str(Path("my field").resolve()).replace(" ", "?")
    assert command[7].split() == ["--tier", "A?tx", "B*", "--padding=0.1", "--audio", folder]


def test_files_that_are_not_all_of_their_folder(show):
    for name in "abc":
        write_recording(Path(f"field/{name}.eaf"), [ANNA])
    assert "go on: with a folder that holds these files" in show("field/a.eaf", "field/b.eaf")
    assert "--manifest field/a.eaf" in show("field/a.eaf")


def test_a_table_is_described_too(show):
    rows = ["path,text,speaker"]
    for number in range(8):
        write_noise(Path(f"clips/{number}.wav"), 21 if number == 7 else 1, number)
        rows.append(f"clips/{number}.wav,word {number},s{number % 2}")
    rows += ["clips/8.wav,,s1"]
    Path("my.csv").write_text("\n".join(rows))
    said = show("my.csv")
    assert "utterances: 8, 0.5 minutes" in said and "longer than 20 s: 1 utterance" in said
    assert "left out: 1 no text, the first my.csv:10" in said


def test_what_would_stop_the_preparation_is_said_at_the_end(show, capsys):
    write_recording(Path("field/talk.eaf"), [ANNA, BORIS], audio=None)
    said = show("field", status=1)
    assert "utterances: 5, " in said and "is no file, and 5 of 5 rows are like this" in said
    with pytest.raises(SystemExit):
        prepare_corpus.main(["--downloads", "field"])
    assert capsys.readouterr().err.splitlines()[-1] == said.splitlines()[-1]


def test_kaldi_directories_have_a_report_of_their_own(show):
    Path("kaldi").mkdir()
    Path("kaldi/wav.scp").write_text("a a.wav\n")
    assert "report_data_dir describes these" in show("kaldi", status=1)
    assert "none does not exist: name a file or folder" in show("none", status=1)
