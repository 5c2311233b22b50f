"""egs/festvox_ru/asr1/local/data.py on miniature trees with the layout of the Debian package; no network."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile
from recipe_scripts import load_data

from espnet_wsm.data.corpora import festvox_ru as data
from espnet_wsm.data.kaldi.directory import Utterance, read_data_dir
from espnet_wsm.errors import UserError

main = load_data("festvox_ru/asr1").main

LETTERS = "абвгдежзиклмнопрстуфхцчшэюя"
PROMPTS = {f"ru_{number:04}": f"Скажи {letter}, ещё раз." for number, letter in enumerate(LETTERS, 1)}


def write_wav(path: Path, seconds: float = 2.0) -> None:
    tone = 0.3 * np.sin(2 * np.pi * 220 * np.arange(round(seconds * 16000)) / 16000)
    soundfile.write(path, tone, 16000, subtype="PCM_16")


def make_tree(root: Path, texts: dict[str, str], recorded: dict[str, float] | None = None) -> Path:
    """The package unpacked in ``root``; ``recorded`` gives the seconds of each recording (default: 2 s)."""
    voice = root / data.FOLDER
    (voice / "etc").mkdir(parents=True)
    (voice / "wav").mkdir()
    lines = "".join(f'( {key} "{text}" )\n' for key, text in texts.items())
    (voice / "etc" / "txt.done.data").write_text(lines, encoding="utf-8")
    for key, seconds in (dict.fromkeys(texts, 2.0) if recorded is None else recorded).items():
        write_wav(voice / "wav" / f"{key}.wav", seconds)
    return voice


def run(*arguments: object) -> None:
    main([str(argument) for argument in arguments])


def read_splits(out: Path) -> dict[str, list[Utterance]]:
    return {name: read_data_dir(out / name) for name in ("train", "dev", "test")}


@pytest.mark.parametrize(
    ("raw", "clean"),
    [
        ("Над головой летела, не могла улететь.", "над головой летела не могла улететь"),
        ("+Окна дом+ов, х+а+ос", "окна домов хаос"),
        ("Кто-то, - э, серо-карие! - Да?", "кто то э серо карие да"),
        ("Ионвиль л'Аббеи; д'Артуа: \u0435\u0308ж", "ионвиль л'аббеи д'артуа ёж"),
    ],
)
def test_text_is_cleaned(raw, clean):
    assert data.clean_text(raw) == clean


@pytest.mark.parametrize("below", ["", "festvox-ru", "anything"])
def test_data_directories_are_written(tmp_path, monkeypatch, capsys, apt, below):
    monkeypatch.chdir(tmp_path)
    make_tree(Path("tree") / below, PROMPTS)
    run("--downloads", "tree", "--out", "data")
    splits = read_splits(Path("data"))
    assert {name: len(each) for name, each in splits.items()} == {"train": 21, "dev": 3, "test": 3}
    every = {each.id: each for utterances in splits.values() for each in utterances}
    first = every["msu_ru_nsh_clunits-ru_0001"]
    assert (first.text, first.speaker) == ("скажи а ещё раз", "msu_ru_nsh_clunits")
    assert first.audio == (Path("tree") / below / data.FOLDER / "wav" / "ru_0001.wav").as_posix()
    assert Path("data/dropped.txt").read_text() == ""
    printed = capsys.readouterr().out
    assert "festvox_ru train: 21 utterances, 0.7 minutes, 84 words" in printed
    assert "festvox_ru: 27 used, 0 dropped" in printed
    assert not apt.fetched


def test_what_is_no_usable_speech_is_dropped_with_its_reason(tmp_path, capsys):
    bad = {
        "bad_1": "В 1918 году.",
        "bad_2": "Письмо из Stockholm.",
        "bad_3": "Тут сказано гораздо больше, чем можно успеть за такое короткое время.",
        "bad_4": "Пустая запись.",
        "bad_5": "Запись без звука.",
        "bad_6": "Обрезанная запись.",
        "bad_7": "Нет записи.",
        "bad_8": "- ... -",
    }
    seconds = dict.fromkeys(PROMPTS | bad, 2.0) | {"bad_5": 0.0, "bad_9": 2.0}
    del seconds["bad_7"]
    voice = make_tree(tmp_path, PROMPTS | bad, seconds)
    (voice / "wav" / "bad_4.wav").write_bytes(b"")
    whole = (voice / "wav" / "bad_6.wav").read_bytes()
    (voice / "wav" / "bad_6.wav").write_bytes(whole[: len(whole) // 2])
    run("--downloads", tmp_path, "--out", tmp_path / "out")
    assert (tmp_path / "out" / "dropped.txt").read_text().splitlines() == [
        "bad_1 number that can be read in several ways",
        "bad_2 letters outside the cyrillic script",
        "bad_3 more than 12 letters a second",
        "bad_4 empty or damaged recording",
        "bad_5 empty or damaged recording",
        "bad_6 empty or damaged recording",
        "bad_7 no recording",
        "bad_8 no words in the text (tone or noise)",
        "bad_9 no text",
    ]
    assert "27 used, 9 dropped (3 empty or damaged recording, " in capsys.readouterr().out


def test_no_text_is_in_two_splits(tmp_path):
    make_tree(tmp_path, PROMPTS | {f"again_{number}": "Скажи: а, ещё раз!" for number in range(9)})
    run("--downloads", tmp_path, "--out", tmp_path / "out")
    homes = {
        name
        for name, utterances in read_splits(tmp_path / "out").items()
        for each in utterances
        if each.text == "скажи а ещё раз"
    }
    assert len(homes) == 1


def test_a_second_run_gives_the_same_files(tmp_path):
    make_tree(tmp_path / "tree", PROMPTS)

    def snapshot():
        run("--downloads", tmp_path / "tree", "--out", tmp_path / "out")
        return {path: path.read_bytes() for path in (tmp_path / "out").rglob("*") if path.is_file()}

    assert snapshot() == snapshot()


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("ru_0002 нет скобок", r"line 2 is no `\( key \"text\" \)` line: 'ru_0002"),
        ('( ru_0001 "Дважды." )', r"line 2: ru_0001 was given before; remove"),
    ],
)
def test_a_strange_line_is_named(tmp_path, line, message):
    path = tmp_path / "txt.done.data"
    path.write_text(f'( ru_0001 "Раз." )\n{line}\n', encoding="utf-8")
    with pytest.raises(UserError, match=r"txt\.done\.data: " + message):
        data.read_prompts(path)


def test_a_text_file_that_is_damaged_or_missing_is_named(tmp_path, capsys):
    voice = make_tree(tmp_path, PROMPTS)
    for damage in (lambda path: path.write_bytes(b"( a \xff"), Path.unlink):
        damage(voice / "etc" / "txt.done.data")
        with pytest.raises(SystemExit, match="1"):
            run("--downloads", tmp_path, "--out", tmp_path / "out")
        assert "txt.done.data: no file of UTF-8 text (" in capsys.readouterr().err
        assert not (tmp_path / "out").exists()


def test_too_few_recordings_to_split_are_refused(tmp_path, capsys):
    make_tree(tmp_path, PROMPTS, {"ru_0001": 2.0})
    with pytest.raises(SystemExit, match="1"):
        run("--downloads", tmp_path, "--out", tmp_path / "out")
    assert "1 usable recordings are too few to split" in capsys.readouterr().err


def test_the_package_is_fetched_once(tmp_path, apt):
    make_tree(tmp_path / "package", PROMPTS)
    apt.offer("festvox-ru", lambda tree: shutil.copytree(tmp_path / "package" / "usr", tree / "usr"))
    for _ in range(2):
        run("--downloads", tmp_path / "downloads", "--out", tmp_path / "out")
    assert apt.fetched == ["festvox-ru"]
    assert len(read_splits(tmp_path / "out")["train"]) == 21


def test_a_failed_fetch_says_what_to_fetch(tmp_path, capsys):
    with pytest.raises(SystemExit, match="1"):
        run("--downloads", tmp_path / "downloads", "--out", tmp_path / "out")
    assert "cannot fetch festvox-ru (E: Unable to locate package festvox-ru)" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
