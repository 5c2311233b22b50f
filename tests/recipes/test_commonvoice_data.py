"""egs/commonvoice on a miniature of a release, with the oddities of several."""

import shutil
from pathlib import Path

import pytest
import soundfile
from recipe_scripts import load_data

from espnet_wsm.data.kaldi.directory import Utterance, read_data_dir

main = load_data("commonvoice/asr1").main

OLD = "client_id path sentence up_votes down_votes age gender accent".split()
NEW = (
    "client_id path sentence_id sentence sentence_domain up_votes down_votes "
    "age gender accents variant locale segment"
).split()
ALIKE = "c" * 20
SPEAKERS = {name: (name * 128)[:128] for name in "0123456789ab"} | {
    "long": (ALIKE + "0" * 128)[:128],
    "like": (ALIKE + "1" * 128)[:128],
}
# Of each set: speaker, clip, sentence.
ROWS = {
    "train": [
        ("0", 1, "Habari ya asubuhi."),
        ("0", 2, '"Karibu sana", alisema mama.'),
        ("1", 3, "Ninapenda kusoma vitabu"),
        ("long", 4, "Leo ni siku nzuri!"),
        ("like", 5, "Watoto wanacheza nje."),
        ("1", 6, ""),
    ],
    "dev": [("2", 11, "Maji ni uhai."), ("2", 12, "Asante, rafiki yangu.")],
    "test": [("3", 21, "Twende nyumbani sasa."), ("4", 22, '"Pole pole"')],
}
MORE = [("0", 31, "Maji ni uhai."), ("2", 32, "Kwa heri."), ("5", 33, "Chakula ni kitamu.")]


def write_table(path: Path, rows: list[tuple[str, int, str]], columns: list[str], suffix: str) -> None:
    lines = ["\t".join(columns)]
    for speaker, clip, sentence in rows:
        values = {
            "client_id": SPEAKERS[speaker],
            "path": f"common_voice_sw_{clip:08}{suffix}",
            "sentence": sentence,
            "up_votes": "2",
            "down_votes": "0",
            "locale": "sw",
        }
        lines.append("\t".join(values.get(name, "") for name in columns))
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def make_release(clips: Path, folder: Path, columns: list[str] = NEW, suffix: str = ".mp3") -> Path:
    """The folder of a language, with the clips of another."""
    shutil.copytree(clips, folder / "clips")
    for name, rows in ROWS.items():
        write_table(folder / f"{name}.tsv", rows, columns, suffix)
    everything = [row for rows in ROWS.values() for row in rows]
    write_table(folder / "validated.tsv", everything + MORE, columns, suffix)
    (folder / "invalidated.tsv").write_text("\t".join(columns) + "\n")
    return folder


@pytest.fixture(scope="module")
def clips(speak, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("commonvoice") / "clips"
    for _, clip, sentence in [*MORE, *(row for rows in ROWS.values() for row in rows)]:
        text = sentence or "kimya"
        speak(folder / f"common_voice_sw_{clip:08}.mp3", text, "sw", 48000 if clip % 2 else 32000, 30 + clip)
    return folder


def prepare(downloads: Path, out: Path, *more: str) -> dict[str, dict[str, Utterance]]:
    main(["--lang", "sw", "--downloads", str(downloads), "--out", str(out), *more])
    return {path.name: {u.id: u for u in read_data_dir(path)} for path in out.iterdir() if path.is_dir()}


def test_sets_speakers_and_texts(clips, tmp_path, capsys):
    folder = make_release(clips, tmp_path / "cv-corpus-17.0-2024-03-15/sw")
    sets = prepare(tmp_path, tmp_path / "out", "--need", "validated", "dev", "test")
    assert {name: len(used) for name, used in sets.items()} == {
        "train": 5, "dev": 2, "test": 2, "validated": 7,
    }  # fmt: skip
    speakers = {each.speaker for each in sets["train"].values()}
    assert speakers == {"0" * 21, "1" * 21, f"{ALIKE}0", f"{ALIKE}1"}, "as short as they differ"
    quoted = sets["train"]["0" * 21 + "-common_voice_sw_00000002"]
    assert quoted.text == '"Karibu sana", alisema mama.'
    assert soundfile.info(quoted.audio).format == "MP3"
    assert sets["train"].items() <= sets["validated"].items()
    assert {each.text for each in sets["validated"].values()} >= {"Maji ni uhai.", "Chakula ni kitamu."}
    dropped = (tmp_path / "out/dropped.txt").read_text().splitlines()
    assert f"{folder}/train.tsv:7 no text" in dropped
    reason = "clip or speaker of dev or test"
    assert [line for line in dropped if reason in line] == [
        f"{folder}/validated.tsv:{line} {reason}" for line in (8, 9, 10, 11, 13)
    ]
    assert "left out: 5 clip or speaker of dev or test, 2 no text, see" in capsys.readouterr().out


@pytest.mark.parametrize("place", ["cv-corpus-2/sw", "sw"])
def test_an_early_release_and_the_folder_of_a_language(clips, tmp_path, place):
    folder = make_release(clips, tmp_path / place, OLD, suffix="")
    (folder / "validated.tsv").unlink()
    for downloads in {folder, folder.parent, tmp_path}:
        sets = prepare(downloads, tmp_path / "out")
        assert {name: len(used) for name, used in sets.items()} == {"train": 5, "dev": 2, "test": 2}
        one = sets["dev"]["2" * 21 + "-common_voice_sw_00000011"]
        assert one.text == "Maji ni uhai." and str(one.audio).endswith("00000011.mp3")


def test_missing_and_empty_clips_are_listed_and_many_of_them_refused(clips, tmp_path, capsys):
    folder = make_release(clips, tmp_path / "sw")
    rows = [("0", 1, "Habari ya asubuhi.")] * 15 + ROWS["train"][1:4]
    write_table(folder / "train.tsv", [(s, c + 1000 * n, t) for n, (s, c, t) in enumerate(rows)], NEW, ".mp3")
    for number in range(1, 15):
        shutil.copy(
            folder / "clips/common_voice_sw_00000001.mp3",
            folder / f"clips/common_voice_sw_{1000 * number + 1:08}.mp3",
        )
    for number, clip in ((15, 2), (16, 3)):
        shutil.copy(
            folder / f"clips/common_voice_sw_{clip:08}.mp3",
            folder / f"clips/common_voice_sw_{1000 * number + clip:08}.mp3",
        )
    (folder / "clips/common_voice_sw_00001001.mp3").write_bytes(b"")
    prepare(folder, tmp_path / "out")
    dropped = (tmp_path / "out/dropped.txt").read_text()
    assert f"{folder}/train.tsv:3 empty audio file\n" in dropped
    assert f"{folder}/train.tsv:19 no audio file\n" in dropped
    shutil.rmtree(folder / "clips")
    with pytest.raises(SystemExit, match="1"):
        prepare(folder, tmp_path / "out")
    said = capsys.readouterr().err
    assert "train.tsv:2: " in said and "18 of 18 rows are like this: unpack the archive of this" in said


def test_what_is_no_such_corpus_is_named(clips, tmp_path, capsys):
    def refuse(downloads: Path, *more: str) -> str:
        with pytest.raises(SystemExit, match="1"):
            prepare(downloads, tmp_path / "out", *more)
        return capsys.readouterr().err

    (tmp_path / "empty").mkdir()
    assert "empty: sw/train.tsv is expected in it, and it holds nothing" in refuse(tmp_path / "empty")
    make_release(clips, tmp_path / "a/cv-corpus-1/rw")
    assert f"--lang sw: {tmp_path}/a holds rw: choose one, or unpack sw there" in refuse(tmp_path / "a")
    folder = make_release(clips, tmp_path / "a/cv-corpus-2/sw")
    (folder / "validated.tsv").unlink()
    said = refuse(tmp_path / "a", "--need", "validated", "dev", "test")
    assert f"validated cannot be made of {folder}, but train, dev, test: unpack" in said
    (folder / "dev.tsv").unlink()
    assert "sw/dev.tsv cannot be read: No such file" in refuse(tmp_path / "a")
    (folder / "dev.tsv").write_text("client_id\tpath\ttext\n1\tx.mp3\ty\n")
    assert "sw/dev.tsv has no column 'sentence'; it has client_id, path, text" in refuse(tmp_path / "a")
    make_release(clips, tmp_path / "a/cv-corpus-3/sw")
    said = refuse(tmp_path / "a")
    assert f"holds sw twice: name {tmp_path}/a/cv-corpus-2/sw or {tmp_path}/a/cv-corpus-3/sw" in said


@pytest.mark.recipe
def test_from_the_corpus_to_the_dump(clips, prepare_recipe, tmp_path):
    make_release(clips, tmp_path / "cv-corpus-17.0-2024-03-15/sw")
    words = ["--lang", "sw", "--downloads", tmp_path, "--train_set", "validated"]
    folder, exp = prepare_recipe("commonvoice", *words)
    assert exp == "exp/sw/asr_train_ctc_char_validated"
    dump = folder / "dump/sw"
    assert len(next(dump.rglob("raw/test/text")).read_text().splitlines()) == 2
    assert soundfile.info(next(dump.rglob("*.flac"))).samplerate == 16000
