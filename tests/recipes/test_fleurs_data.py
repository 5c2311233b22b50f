"""egs/fleurs on a miniature of a language."""

import shutil
import tarfile
from pathlib import Path

import pytest
from recipe_scripts import load_data

from espnet_wsm.data.kaldi.directory import read_data_dir

main = load_data("fleurs/asr1").main

# Of each set: sentence, file, raw text, text.
ROWS = {
    "train": [
        (7, "10001.wav", 'Alisema, "Ndiyo".', "alisema ndiyo"),
        (7, "10002.wav", 'Alisema, "Ndiyo".', "alisema ndiyo"),
        (8, "10003.wav", '"Mto ni mrefu.', '"mto ni mrefu'),
        (9, "10004.wav", "Watu 3 walikuja.", "watu 3 walikuja"),
        (9, "10005.wav", "...", ""),
    ],
    "dev": [(20, "10011.wav", "Mvua inanyesha.", "mvua inanyesha"), (20, "10012.wav", "Mvua.", "mvua")],
    "test": [(30, "10021.wav", "Simba ni mnyama.", "simba ni mnyama"), (31, "10022.wav", "Ndege.", "ndege")],
}


@pytest.fixture(scope="module")
def corpus(speak, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("fleurs") / "sw_ke"
    for name, rows in ROWS.items():
        lines = []
        for number, (sentence, file, raw, text) in enumerate(rows):
            speak(folder / "audio" / name / file, raw, "sw", pitch=30 + 10 * number)
            characters = " ".join(text.replace(" ", "|")) + " |"
            lines.append(f"{sentence}\t{file}\t{raw}\t{text}\t{characters}\t99840\tFEMALE\n")
        (folder / f"{name}.tsv").write_text("".join(lines))
    return folder


@pytest.fixture
def copy(corpus, tmp_path) -> Path:
    return shutil.copytree(corpus, tmp_path / "fleurs/sw_ke")


def refuse(capsys, downloads: Path, lang: str = "sw_ke") -> str:
    with pytest.raises(SystemExit, match="1"):
        main(["--lang", lang, "--downloads", str(downloads), "--out", str(downloads / "../out")])
    return capsys.readouterr().err


@pytest.mark.parametrize("above", [False, True])
def test_the_first_row_counts_and_files_name_utterances(corpus, tmp_path, above):
    downloads = corpus.parent if above else corpus
    main(["--lang", "sw_ke", "--downloads", str(downloads), "--out", str(tmp_path)])
    sets = {name: {each.id: each for each in read_data_dir(tmp_path / name)} for name in ROWS}
    assert {name: list(used) for name, used in sets.items()} == {
        "train": ["10001", "10002", "10003", "10004"], "dev": ["10011", "10012"], "test": ["10021", "10022"],
    }  # fmt: skip
    assert sets["train"]["10003"].text == '"mto ni mrefu' and sets["train"]["10002"].speaker == "10002"
    assert Path(sets["dev"]["10012"].audio) == corpus / "audio/dev/10012.wav"
    assert (tmp_path / "dropped.txt").read_text() == f"{corpus}/train.tsv:5 no text\n"


def test_files_of_one_name_in_two_sets_stay_apart(copy, tmp_path):
    (copy / "audio/dev/10011.wav").rename(copy / "audio/dev/10001.wav")
    table = copy / "dev.tsv"
    table.write_text(table.read_text().replace("10011.wav", "10001.wav"))
    main(["--lang", "sw_ke", "--downloads", str(copy), "--out", str(tmp_path / "out")])
    assert [each.id for each in read_data_dir(tmp_path / "out/dev")] == ["dev.10001", "dev.10012"]


def test_audio_that_is_not_unpacked_is_named_with_the_command(copy, capsys):
    shutil.rmtree(copy / "audio/dev")
    assert f"audio/dev is no folder: fetch {copy}/audio/dev.tar.gz" in refuse(capsys, copy)
    with tarfile.open(copy / "audio/dev.tar.gz", "w:gz") as archive:
        archive.add(copy / "audio/test", "dev")
    said = refuse(capsys, copy)
    assert f"audio/dev is no folder: run `tar -xzf {copy}/audio/dev.tar.gz -C {copy}/audio`" in said
    (copy / "audio/dev").mkdir()
    said = refuse(capsys, copy)
    assert "dev.tsv:1: " in said and "dev/10011.wav is no file, and 2 of 2 rows are like this: unpack" in said


def test_another_language_or_tree_is_refused(copy, tmp_path, capsys):
    said = refuse(capsys, copy.parent, "cs_cz")
    assert f"--lang cs_cz: {copy.parent} holds sw_ke: choose one, or unpack cs_cz there" in said
    (tmp_path / "other/wavs").mkdir(parents=True)
    said = refuse(capsys, tmp_path / "other")
    assert "other: sw_ke/train.tsv is expected in it, and it holds wavs; see README.md" in said
    (copy / "test.tsv").write_text("1\ta.wav\tA\ta\ta |\t1\tMALE\tmore\n")
    assert "test.tsv:1: the row has more fields than the 7 expected" in refuse(capsys, copy)


@pytest.mark.recipe
def test_from_the_corpus_to_the_dump(corpus, prepare_recipe):
    folder, exp = prepare_recipe("fleurs", "--downloads", corpus.parent)
    assert exp == "exp/sw_ke/asr_train_ctc_char"
    texts = (folder / "dump/sw_ke/raw/test/text").read_text().splitlines()
    assert sum(len(line.split()) - 1 for line in texts) == 4
