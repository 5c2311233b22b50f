"""egs/librispeech on a miniature of LibriSpeech and of Libri-light's folders."""

import shutil
from pathlib import Path

import pytest
from recipe_scripts import load_data

from espnet_wsm.data.kaldi.directory import read_data_dir

main = load_data("librispeech/asr1").main

TEXTS = ("CHAPTER ONE", "HE DIDN'T ANSWER HER", "THE RIVER WAS COLD", "I SAW A LIGHT")
FOLDERS = [
    *(f"librispeech_finetuning/1h/{part}/{kind}" for part in range(6) for kind in ("clean", "other")),
    *(f"librispeech_finetuning/9h/{kind}" for kind in ("clean", "other")),
    *(f"LibriSpeech/{name}" for name in ("dev-clean", "dev-other", "test-clean", "test-other")),
]
SMALL = ("train_10min", "train_1h", "train_10h", "dev_clean", "dev_other", "test_clean", "test_other")


@pytest.fixture(scope="module")
def corpus(speak, tmp_path_factory) -> Path:
    """A chapter of two utterances in each folder, every folder with a speaker of its own."""
    root = tmp_path_factory.mktemp("librispeech")
    for number, folder in enumerate(FOLDERS):
        speaker, chapter = 100 + number, 9000 + number
        place = root / folder / f"{speaker}/{chapter}"
        lines = []
        for utterance in range(2):
            id = f"{speaker}-{chapter}-{utterance:04}"
            text = TEXTS[(number + utterance) % len(TEXTS)]
            speak(place / f"{id}.flac", text.lower(), "en-us", pitch=20 + 3 * number)
            lines.append(f"{id} {text}\n")
        (place / f"{speaker}-{chapter}.trans.txt").write_text("".join(lines))
    return root


@pytest.fixture
def copy(corpus, tmp_path) -> Path:
    return shutil.copytree(corpus, tmp_path / "copy")


def test_the_sets_are_those_of_libri_light(corpus, tmp_path, capsys):
    main(["--downloads", str(corpus), "--out", str(tmp_path), "--need", *SMALL])
    assert {path.name for path in tmp_path.iterdir()} == {*SMALL, "dropped.txt"}
    sets = {name: {each.id: each for each in read_data_dir(tmp_path / name)} for name in SMALL}
    assert [len(sets[name]) for name in SMALL] == [4, 24, 28, 2, 2, 2, 2]
    assert sets["train_10min"].items() <= sets["train_1h"].items() <= sets["train_10h"].items()
    one = sets["dev_clean"]["114-9014-0001"]
    assert (one.text, one.speaker) == ("I SAW A LIGHT", "114-9014")
    assert Path(one.audio) == corpus / "LibriSpeech/dev-clean/114/9014/114-9014-0001.flac"
    assert "train_10h: 28 utterances" in capsys.readouterr().out
    assert (tmp_path / "dropped.txt").read_text() == ""


def test_only_what_is_there_is_prepared_and_what_is_asked_for_has_to_be(copy, tmp_path, capsys):
    shutil.rmtree(copy / "librispeech_finetuning/1h/3")
    main(["--downloads", str(copy), "--out", str(tmp_path / "data")])
    names = {path.name for path in (tmp_path / "data").iterdir()}
    assert names == {*SMALL, "dropped.txt"} - {"train_1h", "train_10h"}
    with pytest.raises(SystemExit, match="1"):
        main(["--downloads", str(copy), "--out", str(tmp_path / "data"), "--need", "train_1h"])
    said = capsys.readouterr().err
    assert f"train_1h cannot be made of {copy}, but train_10min, dev_clean" in said and "--train_set" in said


def test_a_folder_of_libri_light_has_what_audio_it_has_and_one_of_librispeech_all(copy, tmp_path, capsys):
    for folder in ("librispeech_finetuning/1h/0/clean/100/9000", "LibriSpeech/dev-clean/114/9014"):
        (copy / folder / f"{folder[-8:].replace('/', '-')}-0001.flac").unlink()
    arguments = ["--downloads", str(copy), "--out", str(tmp_path / "data")]
    with pytest.raises(SystemExit, match="1"):
        main(arguments)
    said = capsys.readouterr().err
    assert "114-9014.trans.txt:2: " in said and "1 of 2 rows are like this: unpack the archive again" in said
    shutil.rmtree(copy / "LibriSpeech/dev-clean")
    main(arguments)
    assert len(read_data_dir(tmp_path / "data/train_10min")) == 3


def test_audio_without_a_line_and_empty_audio_are_listed(copy, tmp_path):
    place = copy / "LibriSpeech/dev-other/115/9015"
    shutil.copy(place / "115-9015-0000.flac", place / "115-9015-0002.flac")
    (place / "115-9015-0001.flac").write_bytes(b"")
    main(["--downloads", str(copy), "--out", str(tmp_path / "data")])
    dropped = (tmp_path / "data/dropped.txt").read_text().splitlines()
    assert dropped == [
        f"{place / '115-9015.trans.txt'}:2 empty audio file",
        f"{place / '115-9015-0002.flac'} no text",
    ]


@pytest.mark.parametrize("found", ["", "speech"])
def test_another_tree_is_refused_with_what_was_found(tmp_path, capsys, found):
    (tmp_path / "downloads" / found).mkdir(parents=True)
    with pytest.raises(SystemExit, match="1"):
        main(["--downloads", str(tmp_path / "downloads"), "--out", str(tmp_path / "data")])
    said = capsys.readouterr().err
    assert (
        "librispeech_finetuning/{1h,9h} or LibriSpeech/" in said and f"it holds {found or 'nothing'}" in said
    )
    with pytest.raises(SystemExit, match="1"):
        main(["--downloads", str(tmp_path / "none"), "--out", str(tmp_path / "data")])
    assert "none: librispeech_finetuning" in (said := capsys.readouterr().err) and "not a folder" in said


def test_a_folder_without_transcripts_and_one_that_is_no_utf_8_are_named(copy, tmp_path, capsys):
    transcripts = copy / "LibriSpeech/test-clean/116/9016/116-9016.trans.txt"
    for change, message in (
        (lambda: transcripts.write_bytes(b"116-9016-0000 \xff\n"), "116-9016.trans.txt: not UTF-8"),
        (transcripts.unlink, "LibriSpeech/test-clean holds no *.trans.txt: unpack"),
    ):
        change()
        with pytest.raises(SystemExit, match="1"):
            main(["--downloads", str(copy), "--out", str(tmp_path / "data")])
        assert message in capsys.readouterr().err


@pytest.mark.recipe
def test_from_the_corpus_to_the_dump(corpus, prepare_recipe):
    sets = ["--valid_set", "dev_clean", "--test_sets", "test_clean test_other"]
    folder, exp = prepare_recipe("librispeech", "--downloads", corpus, *sets)
    assert exp == "exp/asr_train_ctc_char_train_10min"
    dump = folder / "dump/train_10min/raw"
    for name in ("test_clean", "test_other"):
        assert len((dump / name / "text").read_text().splitlines()) == 2
    assert (dump / "train_10min/wav.scp").exists()


def test_files_of_a_mac_are_left_out_and_counted(copy, tmp_path, capsys):
    chapter = copy / "LibriSpeech/dev-clean/114/9014"
    for name in ("114-9014.trans.txt", "114-9014-0000.flac", "114-9014-0001.flac"):
        (chapter / f"._{name}").write_bytes(b"\0\5\x16\7\xff")
    main(["--downloads", str(copy), "--out", str(tmp_path / "data")])
    assert len(read_data_dir(tmp_path / "data/dev_clean")) == 2
    said = capsys.readouterr().err
    assert f"warning: {copy}/LibriSpeech/dev-clean: 1 file ._*.trans.txt of a Mac left out" in said
    assert f"warning: {copy}/LibriSpeech/dev-clean: 2 files ._*.flac of a Mac left out" in said
