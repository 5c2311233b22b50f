"""The table, the list of characters and the figure of data directories."""

from pathlib import Path

import numpy as np
import pytest
import soundfile

from espnet_wsm.bin import report_data_dir
from espnet_wsm.data.kaldi.directory import Utterance, write_data_dir


@pytest.fixture
def sets(tmp_path, monkeypatch) -> list[str]:
    """Six minutes of one speaker, and three of two others, with a character more."""
    monkeypatch.chdir(tmp_path)
    for name, speakers, seconds in (("train", ["s"], 60), ("test", ["t", "u"], 30)):
        utterances = []
        for number in range(6):
            id = f"{name}-{number}"
            soundfile.write(f"{id}.wav", np.zeros(seconds * 100), 100)
            text = "ab कि" + "z" * (name == "test")
            utterances.append(Utterance(id, f"{id}.wav", text, speakers[number % len(speakers)]))
        write_data_dir(Path(name), utterances)
    return ["train", "test"]


def test_they_say_what_there_is(sets, capsys):
    report_data_dir.main(["--out", "report", *sets])
    head, _, train, test = capsys.readouterr().out.splitlines()
    assert head.startswith("| set | utterances | hours | speakers | seconds")
    assert train == ("| train | 6 | 0.10 | 1 | 60.0, 60.0, 60.0 | 0.1, 0.1, 0.1 | 30 | 5 | 0.00 % |")
    assert test == "| test | 6 | 0.05 | 2 | 30.0, 30.0, 30.0 | 0.1, 0.1, 0.1 | 36 | 6 | 16.67 % |"
    page = Path("report/README.md").read_text()
    assert train in page and "data.png" in page
    lines = Path("report/characters.tsv").read_text().splitlines()
    assert lines[0] == "character\tcode point\tname\ttrain\ttest" and len(lines) == 7
    assert "<space>\tU+0020\tSPACE\t6\t6" in lines and "z\tU+007A\tLATIN SMALL LETTER Z\t0\t6" in lines
    assert "ि\tU+093F\tDEVANAGARI VOWEL SIGN I\t6\t6" in lines
    assert Path("report/data.png").read_bytes().startswith(b"\x89PNG")


def test_faulty_data_has_no_report(sets, capsys):
    Path("test-3.wav").unlink()
    with pytest.raises(SystemExit) as stop:
        report_data_dir.main(["--out", "report", *sets])
    assert stop.value.code == 1 and "id test-3: test-3.wav does not exist" in capsys.readouterr().err
    assert not Path("report").exists()
