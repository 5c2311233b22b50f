"""egs/fillets/asr1/local/data.py on miniature trees with the layout of the Debian packages; no network."""

import functools
import io
import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile
from recipe_scripts import load_data

from espnet_wsm.data.audio.recordings import Recording
from espnet_wsm.data.corpora import fillets as data
from espnet_wsm.data.kaldi.directory import Utterance, read_data_dir
from espnet_wsm.errors import UserError

main = load_data("fillets/asr1").main

# Level, name, font, text of what is recorded: twenty levels, four lines each.
LINES = [
    (f"level{number}", f"l{number}-{name}", f"font_{font}", f"{text} {'abcdefghijklmnopqrst'[number]}.")
    for number in range(20)
    for name, font, text in (
        ("m-kde", "small", "Kde je"),
        ("v-tady", "big", "Tady je"),
        ("m-vidis", "small", "Vidíš"),
        ("v-nic", "big", "Nic než"),
    )
]


def script_of(lines: list[tuple[str, str, str, str]]) -> str:
    return "\n".join(
        f'\ndialogId("{name}", "{font}", "Said in English.")\ndialogStr("{text}")\n'
        for _, name, font, text in lines
    )


@functools.cache
def encode_ogg(seconds: float, rate: int, channels: int) -> bytes:
    """A tone between two silences of half a second."""
    tone = 0.3 * np.sin(2 * np.pi * 220 * np.arange(round(seconds * rate)) / rate)
    samples = np.pad(tone, rate // 2) if seconds else tone
    file = io.BytesIO()
    soundfile.write(file, np.stack([samples] * channels, axis=1), rate, format="OGG", subtype="VORBIS")
    return file.getvalue()


def write_ogg(path: Path, seconds: float = 2.0, rate: int = 22050, channels: int = 1) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(encode_ogg(seconds, rate, channels))


def make_tree(root: Path, lines=LINES, lang: str = "cs", record: bool = True) -> Path:
    """Both packages unpacked in ``root``; the folder of the game."""
    game = root / data.GAME
    for level in sorted({line[0] for line in lines}):
        path = game / "script" / level / f"dialogs_{lang}.lua"
        path.parent.mkdir(parents=True)
        path.write_text(script_of([line for line in lines if line[0] == level]), encoding="utf-8")
        if record:
            for line in lines:
                if line[0] == level:
                    write_ogg(game / "sound" / level / lang / f"{line[1]}.ogg")
    return game


def add(game: Path, level: str, name: str, font: str, text: str, **audio) -> None:
    """One more line and its recording, of ``audio``; none for ``seconds=None``."""
    with (game / "script" / level / "dialogs_cs.lua").open("a", encoding="utf-8") as file:
        file.write(script_of([(level, name, f"font_{font}", text)]))
    if audio.get("seconds", 2.0) is not None:
        write_ogg(game / "sound" / level / "cs" / f"{name}.ogg", **audio)


def run(*arguments: object) -> None:
    main([str(argument) for argument in arguments])


def read_splits(out: Path) -> dict[str, list[Utterance]]:
    return {name: read_data_dir(out / name) for name in ("train", "dev", "test")}


def read_all(out: Path) -> dict[str, Utterance]:
    return {each.id: each for utterances in read_splits(out).values() for each in utterances}


def read_dropped(out: Path) -> dict[str, str]:
    lines = (out / "dropped.txt").read_text(encoding="utf-8").splitlines()
    return dict(line.split(" ", 1) for line in lines)


def test_scripts_are_read_with_escapes_comments_and_line_breaks(tmp_path):
    path = tmp_path / "dialogs_cs.lua"
    path.write_text(
        r"""
-- dialogStr("no text, a comment")
dialogId("a-m-one", "font_small", "One.")
dialogStr("Jedna \"a\" dvě:\nC:\\TMP, \/etc")

dialogId("a-v-two", "font_big",
         "Two (with a bracket), and a comma.")
dialogStr(
    "Dvě.")
dialogId("a-x-noise", "", "")
""",
        encoding="utf-8",
    )
    assert data.read_lines(path) == [
        data.Line("a-m-one", "small", r'Jedna "a" dvě: C:\TMP, /etc'),
        data.Line("a-v-two", "big", "Dvě."),
    ]


@pytest.mark.parametrize(
    ("content", "line"),
    [
        ('\ndialogStr("nobody says it")', 2),
        ('dialogId("a", "font_big")\ndialogStr("x")', 1),
        ('-- a comment\n\ndialogId("a", "font_big", "x")\ndialogStr("no end)\n', 4),
        ('dialogId("a", "font_big", "x")\ndialogStr(text)\n', 2),
    ],
)
def test_a_strange_line_of_a_script_is_named(tmp_path, content, line):
    path = tmp_path / "dialogs_cs.lua"
    path.write_text(content)
    with pytest.raises(UserError, match=rf"dialogs_cs\.lua: line {line} is no dialogId.*unpack"):
        data.read_lines(path)


def test_a_script_that_is_no_text_is_named(tmp_path):
    path = tmp_path / "dialogs_cs.lua"
    path.write_bytes(b'dialogId("\xff')
    with pytest.raises(UserError, match=r"dialogs_cs\.lua: no file of UTF-8 text .*unpack"):
        data.read_lines(path)


def test_the_span_leaves_out_the_silence_at_both_ends():
    speech = np.random.default_rng(0).uniform(-0.5, 0.5, 16000)
    samples = np.pad(speech, (8000, 24000))[:, None].astype(np.float32)
    assert data.measure_span(Recording(samples, 16000, "PCM_16")) == pytest.approx(1.0, abs=0.02)
    for length in (16000, 10):
        silence = Recording(np.zeros((length, 2), np.float32), 16000, "PCM_16")
        assert data.measure_span(silence) == 0


@pytest.mark.parametrize("below", ["", "fillets", "fillets-ng-data"])
def test_data_directories_are_written(tmp_path, monkeypatch, capsys, apt, below):
    monkeypatch.chdir(tmp_path)
    make_tree(Path("tree") / below)
    run("--downloads", "tree", "--out", "data/cs")
    every = read_all(Path("data/cs"))
    assert len(every) == 80
    one = every["cs_small-level3.l3-m-vidis"]
    assert (one.text, one.speaker) == ("vidíš d", "cs_small")
    assert one.audio == (Path("tree") / below / data.GAME / "sound/level3/cs/l3-m-vidis.ogg").as_posix()
    assert {each.speaker for each in every.values()} == {"cs_small", "cs_big"}
    printed = capsys.readouterr().out
    assert "cs train: 64 utterances, 3.2 minutes" in printed and "cs: 80 used, 0 dropped" in printed
    assert not apt.fetched


def test_levels_stay_whole_and_dev_and_test_get_a_tenth(tmp_path):
    make_tree(tmp_path)
    run("--downloads", tmp_path, "--out", tmp_path / "out")
    levels = {
        name: {each.id.split("-")[1].split(".")[0] for each in utterances}
        for name, utterances in read_splits(tmp_path / "out").items()
    }
    assert [len(levels[name]) for name in ("train", "dev", "test")] == [16, 2, 2]
    assert len(set.union(*levels.values())) == 20


def test_the_battleships_are_in_train(tmp_path):
    cries = [("gods", f"b1-voda{number}", "font_yellow", "Voda!") for number in range(30)]
    make_tree(tmp_path, LINES + cries)
    run("--downloads", tmp_path, "--out", tmp_path / "out")
    splits = read_splits(tmp_path / "out")
    assert sum(each.speaker == "cs_yellow_gods" for each in splits["train"]) == 30
    assert (len(splits["dev"]), len(splits["test"])) == (8, 8)


def test_the_split_stays_what_results_were_published_for(tmp_path):
    make_tree(tmp_path)
    run("--downloads", tmp_path, "--out", tmp_path / "out")
    splits = read_splits(tmp_path / "out")
    for name, levels in (("test", {"level14", "level10"}), ("dev", {"level0", "level7"})):
        assert {each.id.split("-")[1].split(".")[0] for each in splits[name]} == levels


def test_a_text_of_test_or_dev_is_left_out_of_the_others(tmp_path):
    game = make_tree(tmp_path)
    for level in ("level14", "level0", "level1"):  # of test, dev, train
        add(game, level, "co", "small", "Co?")
    for level in ("level0", "level1"):
        add(game, level, "tak", "big", "Tak...")
    add(game, "level1", "nic", "small", "Nic takového.")
    run("--downloads", tmp_path, "--out", tmp_path / "out")
    assert read_dropped(tmp_path / "out") == {
        "level0/co": "text is in test too",
        "level1/co": "text is in test too",
        "level1/tak": "text is in dev too",
    }
    every = read_all(tmp_path / "out")
    assert {"cs_small-level14.co", "cs_big-level0.tak", "cs_small-level1.nic"} <= every.keys()


def test_what_is_no_usable_speech_is_dropped_with_its_reason(tmp_path, capsys):
    texts = {
        "A%1.": "template, filled in by the game",
        "Stiskni F2.": "number that can be read in several ways",
        r"Je to v C:\\TMP.": "spoken symbol or web address",
        "Spustíme command.com.": "spoken symbol or web address",
        "C-c-copy jsou v m-módě.": "stammered letters",
        "Krrrutý kapitán...": "laughter or letters drawn out",
        "To byl vtip. Ha, ha, ha.": "laughter or letters drawn out",
        "Hmm...": "no vowel: a sound, no word",
        "Видишь?": "letters outside the latin script",
        "...": "no words in the text (tone or noise)",
        f"To se {'opravdu ' * 6} nedá stihnout.": "more than 22 letters a second",
    }
    game = make_tree(tmp_path)
    for number, text in enumerate(texts):
        add(game, "level1", f"a{number}", "small", text)
    add(game, "level1", "c1", "both", "Blahopřejeme!")
    add(game, "level1", "c2", "small", "Nikdo to nenamluvil.", seconds=None)
    add(game, "level1", "c3", "small", "Nic než hlavička.", seconds=0)
    add(game, "level1", "c4", "small", "Poškozený soubor.")
    add(game, "level1", "c5", "", "")
    add(game, "level1", "c6", "small", "Jednou tak,")
    add(game, "level1", "c6", "small", "a jednou jinak.")
    add(game, "level1", "c7", "small", "Dvakrát totéž.")
    add(game, "level1", "c7", "small", "Dvakrát totéž.")
    damaged = game / "sound/level1/cs/c4.ogg"
    damaged.write_bytes(damaged.read_bytes()[:-500])
    write_ogg(game / "sound/level1/cs/c8.ogg")
    run("--downloads", tmp_path, "--out", tmp_path / "out")
    assert read_dropped(tmp_path / "out") == {
        f"level1/a{number}": reason for number, reason in enumerate(texts.values())
    } | {
        "level1/c1": "two voices at once",
        "level1/c2": "no recording",
        "level1/c3": "empty or damaged recording",
        "level1/c4": "empty or damaged recording",
        "level1/c5": "no text",
        "level1/c6": "several texts for one name",
        "level1/c8": "no text",
    }
    every = read_all(tmp_path / "out")
    assert len(every) == 81 and every["cs_small-level1.c7"].text == "dvakrát totéž"
    assert "cs: 81 used, 18 dropped (" in capsys.readouterr().out


def test_speakers_are_the_fish_and_else_one_of_a_level(tmp_path):
    game = make_tree(tmp_path)
    add(game, "level1", "hs", "statue", "Hrajeme vám pro potěšení!")
    add(game, "level2", "hs", "statue", "Zachovejte klid!")
    add(game, "level2", "later", "small", "Já jsem novější.", rate=44100, channels=2)
    run("--downloads", tmp_path, "--out", tmp_path / "out")
    speakers = {each.speaker for each in read_all(tmp_path / "out").values()}
    assert speakers == {"cs_small", "cs_big", "cs_statue_level1", "cs_statue_level2", "cs_small_level2"}


def test_shared_jokes_find_their_texts(tmp_path):
    game = make_tree(tmp_path)
    folder = game / "script" / "share"
    folder.mkdir()
    for group, name in (("black", "smrt-m-1"), ("border", "cil-v-1")):
        script = script_of([("", name, "font_small", f"To je {group}.")])
        (folder / f"{group}_dialogs_cs.lua").write_text(script)
    write_ogg(game / "sound/share/blackjokes/cs/smrt-m-1.ogg")
    write_ogg(game / "sound/share/border/cs/cil-v-1.ogg")
    write_ogg(game / "sound/share/sp-bubles_00.ogg")
    run("--downloads", tmp_path, "--out", tmp_path / "out")
    every = read_all(tmp_path / "out")
    assert every["cs_small-share.blackjokes.smrt-m-1"].text == "to je black"
    assert every["cs_small-share.border.cil-v-1"].text == "to je border"
    assert read_dropped(tmp_path / "out") == {}


def test_a_second_run_gives_the_same_files(tmp_path):
    make_tree(tmp_path / "tree")

    def snapshot():
        run("--downloads", tmp_path / "tree", "--out", tmp_path / "out")
        return {path: path.read_bytes() for path in (tmp_path / "out").rglob("*") if path.is_file()}

    assert snapshot() == snapshot()


def test_each_language_has_its_texts_and_recordings(tmp_path):
    make_tree(tmp_path)
    game = make_tree(tmp_path / "nl", [(*line[:3], f"In het {line[3]}") for line in LINES], "nl")
    run("--lang", "nl", "--downloads", tmp_path / "nl", "--out", tmp_path / "out")
    every = read_all(tmp_path / "out")
    assert len(every) == 80 and every["nl_big-level0.l0-v-nic"].text == "in het nic než a"
    assert all(str(game) in each.audio for each in every.values())


def test_an_unknown_language_is_refused(capsys):
    with pytest.raises(SystemExit, match="2"):
        run("--lang", "en")
    assert "choose from 'cs', 'nl'" in capsys.readouterr().err


def test_too_few_recordings_to_split_are_refused(tmp_path, capsys):
    make_tree(tmp_path, LINES[:4])
    with pytest.raises(SystemExit, match="1"):
        run("--downloads", tmp_path, "--out", tmp_path / "out")
    assert "4 usable recordings are too few to split" in capsys.readouterr().err


def test_the_texts_are_fetched_once_for_both_languages(tmp_path, apt):
    for lang in ("cs", "nl"):
        make_tree(tmp_path / lang, LINES, lang)

    def unpack_texts(tree: Path) -> None:
        for lang in ("cs", "nl"):
            scripts = Path(data.GAME) / "script"
            shutil.copytree(tmp_path / lang / scripts, tree / scripts, dirs_exist_ok=True)

    apt.offer("fillets-ng-data", unpack_texts)
    for lang in ("cs", "nl"):
        sounds = Path(data.GAME) / "sound"
        apt.offer(
            f"fillets-ng-data-{lang}",
            lambda tree, lang=lang, sounds=sounds: shutil.copytree(tmp_path / lang / sounds, tree / sounds),
        )
    for lang in ("cs", "nl", "cs"):
        run("--lang", lang, "--downloads", tmp_path / "downloads", "--out", tmp_path / "out" / lang)
        assert len(read_all(tmp_path / "out" / lang)) == 80
    assert apt.fetched == ["fillets-ng-data", "fillets-ng-data-cs", "fillets-ng-data-nl"]


def test_half_a_tree_whose_rest_cannot_be_fetched_is_named(tmp_path, capsys):
    make_tree(tmp_path, record=False)
    with pytest.raises(SystemExit, match="1"):
        run("--downloads", tmp_path, "--out", tmp_path / "out")
    assert "cannot fetch fillets-ng-data-cs (E: Unable to locate" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
