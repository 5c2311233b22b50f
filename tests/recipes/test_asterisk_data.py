"""egs/asterisk/asr1/local/data.py on miniature trees with the layout of the Debian packages; no network."""

import gzip
import math
import shutil
import string
import unicodedata
from pathlib import Path

import numpy as np
import pytest
import soundfile
from G722 import G722
from hypothesis import given
from hypothesis import strategies as st
from recipe_scripts import load_data

from espnet_wsm.data.corpora import asterisk as data
from espnet_wsm.data.kaldi.directory import Utterance, read_data_dir
from espnet_wsm.errors import UserError

main = load_data("asterisk/asr1").main

DIGITS = {"0": "zero", "1": "one", "2": "two", "6": "six"}
PROMPTS = {
    f"digits/{number}": word
    for number, word in enumerate("zero one two three four five six seven eight nine".split())
} | {f"vm-{letter}": f"Mailbox {letter}, please." for letter in string.ascii_lowercase}


def tone(seconds: float) -> bytes:
    samples = 8000 * np.sin(2 * np.pi * 440 * np.arange(round(seconds * 16000)) / 16000)
    return G722(16000, 64000).encode(samples.astype(np.int16).tolist())


def make_tree(root: Path, texts: dict[str, str], sounds: dict[str, float], lang: str = "en") -> Path:
    """The two packages of ``lang`` unpacked in ``root``; ``sounds`` gives the seconds of each recording."""
    folder = root / "usr/share/doc" / f"asterisk-core-sounds-{lang}"
    folder.mkdir(parents=True)
    lines = "".join(f"{key}: {text}\n" for key, text in texts.items())
    content = f"\ufeff; a comment: not a prompt\n\n{lines}"
    (folder / f"core-sounds-{lang}.txt.gz").write_bytes(gzip.compress(content.encode(), mtime=0))
    voice = root / "usr/share/asterisk/sounds" / data.VOICES[lang]
    for key, seconds in sounds.items():
        path = voice / f"{key}.g722"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(tone(seconds))
    return root


def run(*arguments: object) -> None:
    main([str(argument) for argument in arguments])


def read_splits(out: Path) -> dict[str, list[Utterance]]:
    return {name: read_data_dir(out / name) for name in ("train", "dev", "test")}


@pytest.mark.parametrize(
    ("lang", "raw", "clean"),
    [
        ("en", "  Hello,   WORLD!  ", "hello world"),
        ("en", "To leave the conference...", "to leave the conference"),
        ("en", "dash [-]", "dash"),
        ("en", 'IAX (note: does not say "2")', "iax"),
        ("en", "<beep ascending>", ""),
        ("en", "don't say 'hello'", "don't say hello"),
        ("en", "You’re re-routed", "you're re routed"),
        ("en", "Press 1, 2 or 6.", "press one two or six"),
        ("en", "Press 1.Then 2", "press one then two"),
        ("en", "dial 500 or 28.8 in 3D", "dial 500 or 28 8 in 3d"),
        ("en", "press * or #", "press * or #"),
        ("en", "press 9", "press 9"),
        ("es", "¿Cuál? «Año» nuevo", "cuál año nuevo"),
        ("fr", "S’il vous plaît: l'été, ÇA", "s'il vous plaît l'été ça"),
        ("fr", "e\u0301te\u0301", "été"),
        ("it", "C'è l'interno. E' in uso", "c'è l'interno è in uso"),
        ("ru", "Нажмите «ёлка» — Й", "нажмите ёлка й"),
    ],
)
def test_text_is_cleaned(lang, raw, clean):
    assert data.clean_text(raw, lang, DIGITS) == clean


@given(st.text())
def test_cleaning_is_idempotent_and_composed(raw):
    once = data.clean_text(raw, "fr", {})
    assert data.clean_text(once, "fr", {}) == once
    assert unicodedata.is_normalized("NFC", once)
    assert once == " ".join(once.split())


@pytest.mark.parametrize("accented", ["café", "niño", "più", "ёж", "нй"])
def test_accents_survive(accented):
    for form in ("NFC", "NFD"):
        assert data.clean_text(unicodedata.normalize(form, accented), "fr", {}) == accented


def test_texts_are_read_past_mark_comments_and_missing_line_breaks(tmp_path):
    texts = {
        "Letters/O": "o",
        "one": "first: of two",
        "is": "",
        "vm-record": "after the tone.vm-then-pound: then pound",
    }
    tree = make_tree(tmp_path, texts, {})
    path = next(tree.rglob("*.txt.gz"))
    with gzip.open(path, "at", encoding="utf-8") as file:
        file.write("one: second\n; vm-x: comment\n")
    assert data.read_texts(path) == {
        "letters/o": "o",
        "one": "first: of two",
        "vm-record": "after the tone.",
        "vm-then-pound": "then pound",
    }


def test_a_line_without_a_key_is_named(tmp_path):
    path = tmp_path / "core-sounds-en.txt.gz"
    path.write_bytes(gzip.compress(b"beep: beep\nlost words\n", mtime=0))
    with pytest.raises(UserError, match=r"txt\.gz: line 2 .*'lost words'"):
        data.read_texts(path)


@pytest.mark.parametrize(
    "content",
    [b"plain", gzip.compress(b"a: b" * 99)[:-9], gzip.compress(b"a: \xff")],
    ids=["plain", "cut", "not utf-8"],
)
def test_a_damaged_text_file_is_named(tmp_path, content):
    path = tmp_path / "core-sounds-en.txt.gz"
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"core-sounds-en\.txt\.gz: no gzip file of UTF-8 text.*unpack"):
        data.read_texts(path)


@pytest.mark.parametrize("below", ["", "en", "asterisk-core-sounds-en"])
def test_data_directories_are_written(tmp_path, monkeypatch, capsys, below):
    monkeypatch.chdir(tmp_path)
    make_tree(tmp_path / "tree" / below, PROMPTS, dict.fromkeys(PROMPTS, 1.5))
    run("--lang", "en", "--downloads", "tree", "--out", "data/en")
    splits = read_splits(Path("data/en"))
    every = [each for utterances in splits.values() for each in utterances]
    assert len(every) == len(PROMPTS)
    assert 3 <= len(splits["test"]) <= 5 and 3 <= len(splits["dev"]) <= 5
    one = next(each for each in every if each.text == "one")
    assert one.id == "en_US_f_Allison-digits.1" and one.speaker == "en_US_f_Allison"
    assert one.audio == "data/en/wav/en_US_f_Allison-digits.1.wav"
    info = soundfile.info(one.audio)
    assert (info.samplerate, info.channels, info.subtype, info.frames) == (16000, 1, "PCM_16", 24000)
    assert "mailbox x please" in {each.text for each in every}
    assert Path("data/en/dropped.txt").read_text() == ""
    assert "en: 36 used, 0 dropped" in capsys.readouterr().out


def test_a_recording_finds_its_text_whatever_the_case_of_the_key(tmp_path):
    tree = make_tree(tmp_path, {"phonetic/C_P": "Charlie"}, {"phonetic/c_p": 1.0, "calling": 1.0})
    prompts = data.read_prompts(*data.locate_corpus(tree, "en"), "en")
    assert [(each.key, each.text, each.reason) for each in prompts] == [
        ("calling", "", "no text"),
        ("phonetic/c_p", "charlie", ""),
    ]


def test_the_wav_holds_the_tone(tmp_path):
    make_tree(tmp_path, {}, {"one": 1.0})
    data.decode_g722(next(tmp_path.rglob("one.g722")), tmp_path / "one.wav")
    samples, rate = soundfile.read(tmp_path / "one.wav", dtype="int16")
    spectrum = np.abs(np.fft.rfft(samples))
    assert math.isclose(np.argmax(spectrum) * rate / len(samples), 440, abs_tol=2)
    assert 7000 < np.max(samples) < 9000


def test_what_is_no_usable_speech_is_dropped_with_its_reason(tmp_path, capsys):
    bad = {
        "beep": "[this is a simple beep tone]",
        "empty": "something",
        "fast": "far too many words for the time",
        "letters/a": "буква",
        "silence/1": "(1 second of silence)",
        "star": "press * now",
        "version": "dial 500",
        "web": "visit www.asterisk.org",
        "unsaid": "never recorded",
    }
    sounds = dict.fromkeys(PROMPTS | bad, 1.5) | {
        "empty": 0.0,
        "fast": 0.3,
        "unwritten": 1.0,
        "silence/2": 2.0,
    }
    del sounds["unsaid"]
    make_tree(tmp_path, PROMPTS | bad, sounds)
    run("--downloads", tmp_path, "--out", tmp_path / "out")
    assert (tmp_path / "out" / "dropped.txt").read_text().splitlines() == [
        "beep no words in the text (tone or noise)",
        "empty empty recording",
        "fast more than 18 letters a second",
        "letters/a letters outside the latin script",
        "silence/1 silence",
        "silence/2 silence",
        "star spoken symbol or web address",
        "unsaid no recording",
        "unwritten no text",
        "version number that can be read in several ways",
        "web spoken symbol or web address",
    ]
    printed = capsys.readouterr().out
    assert "en: 36 used, 11 dropped (" in printed and "2 silence" in printed
    assert len(list((tmp_path / "out" / "wav").iterdir())) == 36


def test_a_second_run_gives_the_same_files_and_forgets_old_audio(tmp_path):
    make_tree(tmp_path / "tree", PROMPTS, dict.fromkeys(PROMPTS, 1.0))

    def snapshot():
        run("--downloads", tmp_path / "tree", "--out", tmp_path / "out")
        files = [path for path in (tmp_path / "out").rglob("*") if path.is_file()]
        return {path: path.read_bytes() for path in files}

    first = snapshot()
    (tmp_path / "out" / "wav" / "old.wav").write_bytes(b"")
    assert snapshot() == first


def test_equal_texts_share_a_split(tmp_path):
    texts = PROMPTS | {f"again-{number}": "Mailbox a please!" for number in range(9)}
    make_tree(tmp_path, texts, dict.fromkeys(texts, 1.5))
    run("--downloads", tmp_path, "--out", tmp_path / "out")
    homes = [
        name
        for name, utterances in read_splits(tmp_path / "out").items()
        for each in utterances
        if each.text == "mailbox a please"
    ]
    assert len(homes) == 10 and len(set(homes)) == 1


def test_half_a_tree_is_completed(tmp_path, apt):
    downloads = make_tree(tmp_path / "downloads", PROMPTS, dict.fromkeys(PROMPTS, 1.5))
    shelf = (downloads / "usr/share/asterisk").rename(tmp_path / "recordings")
    apt.offer(
        "asterisk-core-sounds-en-g722", lambda tree: shutil.copytree(shelf, tree / "usr/share/asterisk")
    )
    run("--downloads", downloads, "--out", tmp_path / "out")
    assert apt.fetched == ["asterisk-core-sounds-en-g722"]
    assert sorted(path.name for path in downloads.iterdir()) == ["asterisk-core-sounds-en-g722", "usr"]
    assert len(read_splits(tmp_path / "out")["train"]) > 20


def test_too_few_prompts_to_split_are_refused(tmp_path, capsys):
    make_tree(tmp_path, PROMPTS, {"vm-a": 2.0})
    with pytest.raises(SystemExit, match="1"):
        run("--downloads", tmp_path, "--out", tmp_path / "out")
    assert "1 usable recordings are too few to split" in capsys.readouterr().err


def test_packages_are_fetched_once(tmp_path, apt):
    names = ["asterisk-core-sounds-it", "asterisk-core-sounds-it-g722"]
    for name, part in zip(names, ("usr/share/doc", "usr/share/asterisk"), strict=True):
        whole = make_tree(tmp_path / name, PROMPTS, dict.fromkeys(PROMPTS, 1.5), "it")
        apt.offer(name, lambda tree, source=whole / part, part=part: shutil.copytree(source, tree / part))
    arguments = ["--lang", "it", "--downloads", tmp_path / "downloads", "--out", tmp_path / "out"]
    run(*arguments)
    run(*arguments)
    assert apt.fetched == names
    assert sorted(path.name for path in (tmp_path / "downloads").iterdir()) == names


def test_a_package_that_cannot_be_fetched_is_named(tmp_path, apt, capsys):
    with pytest.raises(SystemExit, match="1"):
        run("--lang", "it", "--downloads", tmp_path / "downloads", "--out", tmp_path / "out")
    assert "cannot fetch asterisk-core-sounds-it (E: Unable to locate" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_an_unknown_language_is_refused(capsys):
    with pytest.raises(SystemExit, match="2"):
        run("--lang", "xx")
    assert "'en', 'es', 'fr', 'it', 'ru'" in capsys.readouterr().err
