"""What confidences are worth, from the files of stages 2 and 4 to the one that transcribe applies."""

from pathlib import Path

import pytest
from PIL import Image

from espnet_wsm.files import digest_file
from espnet_wsm.recognition.calibration import Rated, read_calibration
from espnet_wsm.stages import calibrate


def write_set(folder: Path, name: str, hypotheses: dict[str, list[tuple[str, float]]], reference: str) -> str:
    """A decoded set, all of whose references are the same; returns the argument that names it."""
    (folder / name).mkdir()
    lines = [
        f"{id} 1 {place}.000 0.500 {word} {confidence:.6f}\n"
        for id, words in hypotheses.items()
        for place, (word, confidence) in enumerate(words)
    ]
    (folder / name / "ctm").write_text("".join(lines))
    text = folder / f"{name}.text"
    text.write_text("".join(f"{id} {reference}\n" for id in [*hypotheses, "silent"]))
    return f"{name}={text}"


def sure_and_unsure(number: int) -> dict[str, list[tuple[str, float]]]:
    """Of the sure words all are right, of the unsure ones every second is."""
    return {
        f"u{place}": [("a", 0.97), ("xb"[place % 2], 0.9 + 0.001 * (place % 7))] for place in range(number)
    }


@pytest.fixture
def model(tmp_path) -> Path:
    (tmp_path / "model.pth").write_bytes(b"weights")
    return tmp_path / "model.pth"


def run(folder: Path, model: Path, *sets: str) -> tuple:
    calibrate.main(["--decoded", str(folder), "--model_file", str(model), "--valid", "dev", *sets])
    return read_calibration(folder / "confidence.json")


def test_words_are_right_where_they_are_aligned_to_themselves(tmp_path):
    words = {"u1": [("b", 0.5), ("a", 0.25), ("c", 1.0)], "u2": [("c", 0.75)]}
    write_set(tmp_path, "dev", words, "a c d")
    found = calibrate.rate_words(tmp_path / "dev.text", tmp_path / "dev/ctm")
    assert found == Rated((0.5, 0.25, 1.0, 0.75), (False, True, True, True))


def test_what_dev_says_makes_confidences_of_test_probabilities(tmp_path, model, capsys):
    numbers = {"dev": 80, "test": 60}
    sets = [write_set(tmp_path, name, sure_and_unsure(number), "a b") for name, number in numbers.items()]
    calibration, about = run(tmp_path, model, *sets)
    assert calibration(0.9) == pytest.approx(0.5, abs=0.1) and 0.98 < calibration(0.97) < 1
    assert (about["model_digest"], about["learnt_on"]) == (digest_file(model), "dev")
    dev, test = about["sets"]["dev"], about["sets"]["test"]
    assert (test["words"], test["right"]) == (120, 90) and dev["ece_calibrated"] is None
    assert test["ece_calibrated"] < 0.05 < 0.15 < test["ece"] and 0.8 < test["auc"] < 0.9
    with Image.open(tmp_path / "confidence.png") as picture:
        assert picture.width > picture.height > 300
    said = " ".join(capsys.readouterr().out.split())
    assert f"| test | 120 | 90 | {test['auc']:.3f} | {test['ece']:.3f} |" in said


def test_too_few_words_leave_confidences_as_they_are_and_are_told(tmp_path, model, capsys):
    sets = [write_set(tmp_path, "dev", sure_and_unsure(3), "a b"), write_set(tmp_path, "test", {}, "a")]
    calibration, about = run(tmp_path, model, *sets)
    assert calibration is None and about["why_not"].startswith("6 words, 4 of them right, do not tell")
    assert list(about["sets"]) == ["dev"]
    said = capsys.readouterr().out
    assert "confidences stay as they are, with dev as the validation set: 6 words" in said


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("other 1 0.000 0.500 a 0.5\n", "other is not in"),
        ("u0 1 0.000 0.500 a\n", "u0 has words without confidence"),
        ("u0 1 0.000 a\n", "4 fields"),
    ],
)
def test_files_that_do_not_fit_are_named(tmp_path, model, capsys, line, said):
    argument = write_set(tmp_path, "dev", sure_and_unsure(1), "a b")
    (tmp_path / "dev/ctm").write_text(line)
    with pytest.raises(SystemExit) as stop:
        run(tmp_path, model, argument)
    message = capsys.readouterr().err
    assert stop.value.code == 1 and said in message and "dev/ctm" in message
    assert not (tmp_path / "confidence.json").exists()
