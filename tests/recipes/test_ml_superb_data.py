"""egs/ml_superb on a miniature of its tree: corpora that share a language, a few-shot language."""

import json
import shutil
from pathlib import Path

import pytest
from recipe_scripts import load_data

from espnet_wsm.data.corpora.ml_superb import FEW_SHOT, FEW_SHOT_IDS, TRACK
from espnet_wsm.data.kaldi.directory import read_data_dir
from espnet_wsm.data.text.rules import read_text_rules
from espnet_wsm.data.text.tokens import split_characters

main = load_data("ml_superb/asr1").main

SETS = ("train_10min", "train_1h", "dev_10min", "test_10min")
# Of each folder: voice and, by the number of the utterance, the text; train has the first two, an hour three.
FOLDERS = {
    "ALFFA/swa": ("sw", {1: "Mvua inanyesha.", 2: "[laugh] Habari!", 3: "Karibu", 4: "Asante", 5: "Simba"}),
    "fleurs/swa": ("sw", {1: "mto", 2: "ndege", 3: "nyumba", 4: "mama", 5: "baba"}),
    "NST/swe": ("sv", {1: "God dag", 2: "Tack så mycket", 3: "[...]", 4: "Hej", 5: "Ja, tack"}),
    "fleurs/dan": ("da", {58: "Hej med dig", 2: "Tak", 71: "Farvel", 4: "God morgen", 5: "Nej tak"}),
}
FILES = {"10min_train": (0, 2), "1h_train": (0, 3), "10min_dev": (3, 4), "10min_test": (4, 5)}


@pytest.fixture(scope="module")
def corpus(speak, tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("ml_superb") / "eighth_version"
    for name, (voice, texts) in FOLDERS.items():
        folder = root / name
        ids = [f"{name.replace('/', '_')}_{number:06}" for number in texts]
        lines = [f"{id} source_{id}.wav {text}\n" for id, text in zip(ids, texts.values(), strict=True)]
        for id, text in zip(ids, texts.values(), strict=True):
            speak(folder / f"wav/{id}.wav", text, voice)
        for file, (first, last) in FILES.items():
            (folder / f"transcript_{file}.txt").write_text("".join(lines[first:last]))
    return root


@pytest.fixture
def copy(corpus, tmp_path) -> Path:
    return shutil.copytree(corpus, tmp_path / "copy")


def refuse(capsys, downloads: Path, lang: str) -> str:
    with pytest.raises(SystemExit, match="1"):
        main(["--lang", lang, "--downloads", str(downloads), "--out", str(downloads / "out")])
    return capsys.readouterr().err


@pytest.mark.parametrize("lang", ["swa", "ALFFA/swa"])
def test_one_language_of_one_corpus(corpus, tmp_path, lang):
    main(["--lang", lang, "--downloads", str(corpus), "--out", str(tmp_path)])
    sets = {name: {each.id: each for each in read_data_dir(tmp_path / name)} for name in SETS}
    assert [len(sets[name]) for name in SETS] == [2, 3, 1, 1]
    assert sets["train_10min"].items() <= sets["train_1h"].items()
    one = sets["train_10min"]["ALFFA_swa_000002"]
    assert (one.text, one.speaker) == ("Habari!", one.id), "notes are no speech; the rest is left as it is"
    assert Path(one.audio) == corpus / "ALFFA/swa/wav/ALFFA_swa_000002.wav"
    assert not (tmp_path / "nlsyms.txt").exists()


def test_all_languages_with_their_tokens(corpus, tmp_path, capsys):
    main(["--lang", "all", "--downloads", str(corpus), "--out", str(tmp_path)])
    sets = {name: {each.id: each.text for each in read_data_dir(tmp_path / name)} for name in SETS}
    assert [len(sets[name]) for name in SETS] == [7, 10, 4, 4]
    assert sets["train_10min"]["NST_swe_000001"] == "[swe] God dag"
    assert {id for id in sets["train_1h"] if "dan" in id} == {"fleurs_dan_000058", "fleurs_dan_000071"}
    assert sets["test_10min"]["fleurs_dan_000005"] == "[dan] Nej tak", "tested in full"
    assert (tmp_path / "nlsyms.txt").read_text() == "[dan]\n[swa]\n[swe]\n"
    assert (tmp_path / "dropped.txt").read_text() == f"{corpus}/NST/swe/transcript_1h_train.txt:3 no text\n"
    assert "4 folders of 3 languages" in capsys.readouterr().out


def test_the_benchmark_is_what_it_was_published_as():
    assert len(TRACK) == 13 and len(FEW_SHOT) == 20 and len(FEW_SHOT_IDS) == 100
    assert "voxpopuli_lit_001707" in FEW_SHOT_IDS and TRACK["deu1"] == "swc/deu"


def test_recordings_without_sound_are_listed(copy, tmp_path):
    header = (copy / "ALFFA/swa/wav/ALFFA_swa_000003.wav").read_bytes()[:44]
    (copy / "ALFFA/swa/wav/ALFFA_swa_000003.wav").write_bytes(header)
    main(["--lang", "swa", "--downloads", str(copy), "--out", str(tmp_path / "out")])
    place = copy / "ALFFA/swa/transcript_1h_train.txt"
    assert (tmp_path / "out/dropped.txt").read_text() == f"{place}:3 empty audio file\n"


def test_what_is_not_there_is_named(copy, tmp_path, capsys):
    said = refuse(capsys, copy, "eng1")
    assert "--lang eng1: " in said and "has no mls/eng, but ALFFA/swa, NST/swe, fleurs/dan" in said
    assert "has no xho, but" in refuse(capsys, copy, "xho")
    shutil.copytree(copy / "NST/swe", copy / "fleurs/swe")
    main(["--lang", "swe", "--downloads", str(copy), "--out", str(tmp_path / "out")])  # the track says which
    shutil.copytree(copy / "fleurs/dan", copy / "NST/dan")
    assert "--lang dan is in several corpora: choose one of NST/dan, fleurs/dan" in refuse(
        capsys, copy, "dan"
    )
    (tmp_path / "wrong/fleurs").mkdir(parents=True)
    said = refuse(capsys, tmp_path / "wrong", "swa")
    assert "CORPUS/LANGUAGE/transcript_10min_test.txt is expected in it, and it holds fleurs" in said
    (copy / "NST/swe/transcript_10min_dev.txt").unlink()
    assert "NST/swe/transcript_10min_dev.txt cannot be read" in refuse(capsys, copy, "swe")
    (copy / "NST/swe/transcript_10min_dev.txt").write_text("\n")
    assert "NST/swe/transcript_10min_dev.txt is empty" in refuse(capsys, copy, "swe")
    shutil.rmtree(copy / "ALFFA/swa/wav")
    said = refuse(capsys, copy, "swa")
    assert "wav/ALFFA_swa_000001.wav is no file, and 2 of 2 rows are like this: unpack" in said


@pytest.mark.recipe
def test_all_languages_from_the_corpus_to_the_score(corpus, run_recipe, shell):
    words = ["--downloads", corpus, "--lang", "all", "--train_set", "train_1h"]
    folder = run_recipe("ml_superb", *words, stages=5)
    tokens = (folder / "dump/all/train_1h/token_list/char/tokens.txt").read_text().splitlines()
    assert {"[swe]", "[swa]", "[dan]", "A"} <= set(tokens) and not {"[", "a", ","} & set(tokens)
    decoded = folder / "exp/all/asr_train_ctc_char_train_1h/decode_greedy/test_10min"
    references = (decoded / "score_wer/ref.trn").read_text()
    assert "NEJ TAK\t" in references and "[dan]" not in references
    record = json.loads((decoded / "score.json").read_text())
    rules = read_text_rules(folder / "conf/text.yaml")
    texts = [list(texts.values())[-1] for _, texts in FOLDERS.values()]
    characters = sum(len(split_characters(rules.apply(text))) for text in texts)
    assert record["cer"]["python"]["counts"]["words"] == characters
    words = ["--lang", "all", "--train_set", "train_1h", "--stage", "2", "--nlsyms_txt", "none"]
    refused = shell(["./run.sh", *words], folder)
    assert refused.returncode == 1 and "error: --nlsyms_txt none does not exist" in refused.stderr
    assert "non_linguistic_symbols: dump/all/train_1h" in (decoded / "../../config.yaml").read_text()
