"""egs/debian_multi/ssl1/local/data.py on miniature trees with the layout of the packages; no network."""

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
import test_asterisk_data
import test_festvox_ru_data
import test_fillets_data
from recipe_scripts import load_data

from espnet_wsm.data.corpora import debian_multi as data
from espnet_wsm.data.kaldi.directory import read_data_dir

main = load_data("debian_multi/ssl1").main

PROMPTS = [f"digits/{number}" for number in range(30)] + [f"vm-{number}" for number in range(40)]


def burst(seconds: float, rate: int = 8000) -> np.ndarray:
    return 0.2 * np.random.default_rng(0).standard_normal(round(seconds * rate))


def write_prompts(tree: Path, name: str, keys=PROMPTS, seconds: float = 0.5) -> Path:
    """A package of prompts unpacked in ``tree``; gives the folder of the voice."""
    folder = tree / data.SOURCES[name].folder
    suffix, form = (".wav", {}) if name == "menardi_it" else (".gsm", {"format": "RAW", "subtype": "GSM610"})
    for key in keys:
        path = folder / f"{key}{suffix}"
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, burst(seconds), 8000, **form)
    return folder


def run(tree: Path, out: Path, sources: str) -> None:
    main(["--sources", sources, "--downloads", str(tree), "--out", str(out)])


def read_sets(out: Path) -> dict[str, list[str]]:
    return {name: [each.id for each in read_data_dir(out / name)] for name in ("train", "valid")}


def test_prompts_are_decoded_and_a_fiftieth_is_held_out_by_its_id(tmp_path, capsys):
    folder = write_prompts(tmp_path / "tree", "armelle_fr")
    write_prompts(tmp_path / "tree", "armelle_fr", ["silence/1", "digits/silence"])
    (folder / "empty.gsm").touch()
    (folder / "README.txt").write_text("not audio")
    write_prompts(tmp_path / "tree", "menardi_it")
    run(tmp_path / "tree", tmp_path / "out", "menardi_it armelle_fr")
    sets = read_sets(tmp_path / "out")
    expected = {f"{name}-{key.replace('/', '.')}" for name in ("armelle_fr", "menardi_it") for key in PROMPTS}
    assert set(sets["train"]) | set(sets["valid"]) == expected
    assert not set(sets["train"]) & set(sets["valid"])
    assert 1 <= len(sets["valid"]) <= 8 and len(expected) == 140
    utterances = {each.id: each for name in sets for each in read_data_dir(tmp_path / "out" / name)}
    assert all(data.is_held_out(each) == (each.id in sets["valid"]) for each in utterances.values())
    decoded = utterances["armelle_fr-digits.7"]
    info = soundfile.info(str(decoded.audio))
    assert (info.samplerate, info.channels, info.subtype, info.duration) == (8000, 1, "PCM_16", 0.5)
    assert decoded.speaker == "armelle_fr" and soundfile.read(decoded.audio)[0].std() > 0.1
    printed = capsys.readouterr().out
    assert "empty.gsm is empty, left out" in printed and "all sources: 0.02 hours" in printed


def test_sources_are_recorded_with_licence_holder_and_minutes(tmp_path):
    write_prompts(tmp_path / "tree", "armelle_fr", seconds=1.2)
    run(tmp_path / "tree", tmp_path / "out", "armelle_fr")
    record = json.loads((tmp_path / "out/sources.json").read_text())
    assert record == {"armelle_fr": {**vars(data.SOURCES["armelle_fr"]), "minutes": round(70 * 1.2 / 60, 1)}}
    assert record["armelle_fr"]["package"] == "asterisk-prompt-fr-armelle"


def test_a_second_run_gives_the_same_sets_and_forgets_the_first(tmp_path):
    write_prompts(tmp_path / "tree", "armelle_fr")
    folder = write_prompts(tmp_path / "tree", "menardi_it")
    run(tmp_path / "tree", tmp_path / "out", "armelle_fr menardi_it")
    first = read_sets(tmp_path / "out")
    run(tmp_path / "tree", tmp_path / "out", "menardi_it armelle_fr")
    assert read_sets(tmp_path / "out") == first
    (folder / "vm-3.wav").unlink()
    run(tmp_path / "tree", tmp_path / "out", "menardi_it armelle_fr")
    assert not list((tmp_path / "out/sources").rglob("menardi_it-vm-3.wav"))


def test_no_utterance_of_a_development_or_test_set_gets_in(tmp_path, monkeypatch):
    tree = tmp_path / "tree"
    prompts = test_asterisk_data.PROMPTS
    test_asterisk_data.make_tree(tree, prompts, dict.fromkeys(prompts, 0.8))
    test_festvox_ru_data.make_tree(tree, test_festvox_ru_data.PROMPTS)
    test_fillets_data.make_tree(tree)
    # So few: hold out a tenth, lest there be none.
    monkeypatch.setattr(data, "VALID_SHARE", 10)
    run(tree, tmp_path / "out", "asterisk_en festvox_ru fillets_cs")
    sets = read_sets(tmp_path / "out")
    heard = set(sets["train"]) | set(sets["valid"])
    audio = {str(each.audio) for name in sets for each in read_data_dir(tmp_path / "out" / name)}
    trained = set()
    for name in ("asterisk_en", "festvox_ru", "fillets_cs"):
        source = tmp_path / "out/sources" / name
        trained |= {each.id for each in read_data_dir(source / "train")}
        for held_out in ("dev", "test"):
            utterances = read_data_dir(source / held_out)
            assert utterances and not heard & {each.id for each in utterances}
            assert not audio & {str(each.audio) for each in utterances}
    assert heard == trained
    # What the recipe calls its test set is the same in a run of its own.
    test_festvox_ru_data.run("--downloads", tree, "--out", tmp_path / "own")
    for name in ("dev", "test"):
        own = [each.id for each in read_data_dir(tmp_path / "own" / name)]
        assert own == [each.id for each in read_data_dir(tmp_path / "out/sources/festvox_ru" / name)]


@pytest.mark.parametrize(
    ("sources", "message"),
    [
        ("armelle_fr klingon", "--sources: 'klingon' is none of asterisk_en, "),
        ("", "name at least one, and each once"),
        ("armelle_fr armelle_fr", "name at least one, and each once"),
    ],
)
def test_sources_that_do_not_exist_are_refused(tmp_path, capsys, sources, message):
    with pytest.raises(SystemExit, match="1"):
        run(tmp_path, tmp_path / "out", sources)
    assert message in capsys.readouterr().err and not (tmp_path / "out").exists()


def test_too_few_utterances_to_hold_any_out_are_refused(tmp_path, capsys):
    write_prompts(tmp_path / "tree", "armelle_fr", ["one"])
    with pytest.raises(SystemExit, match="1"):
        run(tmp_path / "tree", tmp_path / "out", "armelle_fr")
    assert "too little to hold anything out; name more sources" in capsys.readouterr().err
    assert not (tmp_path / "out/sources.json").exists()


def test_a_recipe_that_fails_is_named(tmp_path, capsys):
    test_asterisk_data.make_tree(tmp_path / "tree", {"one": "one"}, {"one": 1.0})  # too few to split
    with pytest.raises(SystemExit, match="1"):
        run(tmp_path / "tree", tmp_path / "out", "asterisk_en")
    assert "asterisk_en: asterisk/asr1/local/data.py failed (see above)" in capsys.readouterr().err


def test_a_package_that_cannot_be_fetched_is_named(tmp_path, apt, capsys):
    with pytest.raises(SystemExit, match="1"):
        run(tmp_path / "tree", tmp_path / "out", "avatar_es")
    assert "cannot fetch asterisk-prompt-es-co" in capsys.readouterr().err and not apt.fetched
