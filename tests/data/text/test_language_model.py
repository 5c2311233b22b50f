"""Language models: read, trained by lmplz, and refused where they do not fit."""

import re
import stat
import subprocess

import pytest
from arpa import write_arpa

from espnet_wsm.data.text.language_model import Spelling, is_model, load_model, read_training_sentences
from espnet_wsm.data.text.rules import TextRules
from espnet_wsm.stages import prepare_lm

SENTENCES = ["the cat sat", "the dog ran", "a cat ran"]


@pytest.fixture
def texts(tmp_path) -> list[str]:
    """Arguments that name transcripts of training and validation."""
    (tmp_path / "text").write_text("".join(f"u{i} {text}\n" for i, text in enumerate(SENTENCES)))
    (tmp_path / "valid").write_text("v1 the dog sat\n")
    return [
        "--train_text",
        f"{tmp_path}/text",
        "--valid_text",
        f"{tmp_path}/valid",
        "--out",
        f"{tmp_path}/lm",
    ]


@pytest.fixture
def fake_lmplz(tmp_path, monkeypatch):
    """``fake_lmplz(script)``: an lmplz on PATH, with ``text``, ``arpa`` and ``order`` from its arguments."""

    def make(script: str) -> None:
        program = tmp_path / "bin/lmplz"
        program.parent.mkdir(exist_ok=True)
        options = (
            "--text) text=$2 ;; --arpa) arpa=$2 ;; --order) order=$2 ;; --discount_fallback) fallback=1 ;;"
        )
        loop = f"while (($#)); do case $1 in {options} esac; shift; done"
        program.write_text(f"#!/bin/bash\n{loop}\n{script}\n")
        program.chmod(program.stat().st_mode | stat.S_IXUSR)
        monkeypatch.setenv("PATH", f"{program.parent}:/usr/bin:/bin")

    return make


def fault_of(capsys, *arguments: str) -> str:
    with pytest.raises(SystemExit) as stop:
        prepare_lm.main(list(arguments))
    assert stop.value.code == 1
    message = capsys.readouterr().err
    assert message.startswith("error: ") and "\n" not in message.strip()
    return message.removeprefix("error: ").strip()


def test_a_model_is_named_with_what_it_knows(texts, tmp_path, capsys):
    arpa = write_arpa(tmp_path / "x.arpa", ["the cat sat on a mat", "ran"])
    prepare_lm.main(["--lm", str(arpa), *texts])
    told = capsys.readouterr()
    assert told.out == f"{arpa}\n" and not (tmp_path / "lm").exists()
    assert told.err.splitlines() == [
        f"{arpa}: 2-gram",
        f"{arpa} knows 8 of the 9 words of {tmp_path}/text (88.9 %)",
        f"{arpa} knows 2 of the 3 words of {tmp_path}/valid (66.7 %)",
    ]


@pytest.mark.parametrize("name", ["x.arpa", "x.txt", "a model"])
def test_a_model_is_known_by_name_or_content(tmp_path, name):
    assert is_model(write_arpa(tmp_path / name, SENTENCES))
    (tmp_path / "text").write_text("the data\n")
    assert not is_model(tmp_path / "text")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda text: "", "x.arpa cannot be read as a language model (End of file"),
        (lambda text: text[:90], "x.arpa cannot be read as a language model (End of file in the 1-gram"),
        (lambda text: text.replace("\\end\\", ""), "x.arpa cannot be read as a language model (End of file"),
        (lambda text: "hello\n", 'first non-empty line was "hello" not \\data\\'),
        (lambda text: text.replace("ngram 2=", "ngram 2=1"), "x.arpa cannot be read as a language model"),
        (lambda text: text.split("\\2-grams:")[0] + "\\end\\\n", "x.arpa cannot be read as a language model"),
    ],
)
def test_what_is_no_whole_model_is_refused(texts, tmp_path, capsys, change, message):
    arpa = write_arpa(tmp_path / "x.arpa", SENTENCES)
    arpa.write_text(change(arpa.read_text()))
    told = fault_of(capsys, "--lm", str(arpa), *texts)
    assert told.startswith(f"{tmp_path}/x.arpa cannot be read") and message in told
    assert told.endswith(
        "name an n-gram of words in ARPA's format (as lmplz or SRILM write it) or KenLM's binary one"
    )


@pytest.mark.parametrize("name", ["x.arpa", "x.txt"])
@pytest.mark.parametrize(
    ("change", "fault"),
    [
        (lambda text: b"\xef\xbb\xbf" + text.encode(), "begins with a byte order mark, which ARPA's format"),
        (lambda text: text.encode("utf-16"), "is UTF-16: convert it, e.g. `iconv -f UTF-16 -t UTF-8"),
        (lambda text: text.replace("cat", "chât").encode("latin-1"), "is not UTF-8 at line "),
        (lambda text: drop_word(text, "</s>").encode(), "has no </s>, so it does not know where sentences"),
        (lambda text: drop_word(text, "<s>").encode(), "has no <s>, so it does not know where sentences"),
    ],
)
def test_faults_of_a_model_have_their_cure(texts, tmp_path, capsys, name, change, fault):
    arpa = write_arpa(tmp_path / name, SENTENCES)
    arpa.write_bytes(change(arpa.read_text()))
    assert fault_of(capsys, "--lm", str(arpa), *texts).startswith(f"{arpa} {fault}")


def drop_word(arpa: str, word: str) -> str:
    """An n-gram without a word, and with the counts that are left."""
    lines = [line for line in arpa.split("\n") if word not in re.split(r"[\t ]", line)]
    first = lines.index("\\2-grams:")
    counts = (sum("\t" in line for line in part) for part in (lines[:first], lines[first:]))
    return re.sub(r"(?m)(?<=^ngram \d=)\d+", lambda _: str(next(counts)), "\n".join(lines))


def test_the_cure_for_a_mark_cures(texts, tmp_path, capsys):
    arpa = write_arpa(tmp_path / "x.arpa", SENTENCES)
    arpa.write_bytes(b"\xef\xbb\xbf" + arpa.read_bytes())
    command = re.search("`(sed .+)`", fault_of(capsys, "--lm", str(arpa), *texts))[1]
    subprocess.run(command, shell=True, check=True)
    assert load_model(arpa).order == 2


def test_other_faults_are_named(texts, tmp_path, capsys):
    assert "x.arpa is not a file: name a language model" in fault_of(
        capsys, "--lm", f"{tmp_path}/x.arpa", *texts
    )
    (tmp_path / "x.arpa.gz").write_bytes(b"\x1f\x8b")
    assert "x.arpa.gz is compressed: unpack it with `gunzip" in fault_of(
        capsys, "--lm", f"{tmp_path}/x.arpa.gz", *texts
    )
    (tmp_path / "empty").write_text(" \n")
    assert "empty is empty: it needs one sentence per line" in fault_of(
        capsys, "--lm", f"{tmp_path}/empty", *texts
    )
    (tmp_path / "latin").write_bytes(b"caf\xe9\n")
    assert "latin is not UTF-8 at byte 3: convert it" in fault_of(capsys, "--lm", f"{tmp_path}/latin", *texts)
    (tmp_path / "binary.bin").write_bytes(b"\0" * 500)
    assert "binary.bin cannot be read as a" in fault_of(capsys, "--lm", f"{tmp_path}/binary.bin", *texts)
    assert "--order 7: KenLM has n-grams from 2 to 6" in fault_of(capsys, "--order", "7", *texts)


@pytest.mark.parametrize(
    "sentences", [["THE CAT SAT"], ["der hund"], ["t h e c t s"]], ids=["capitals", "language", "characters"]
)
def test_a_model_that_knows_no_word_is_refused(texts, tmp_path, capsys, sentences):
    arpa = write_arpa(tmp_path / "x.arpa", sentences)
    message = fault_of(capsys, "--lm", str(arpa), *texts)
    where = f"{tmp_path}/text and {tmp_path}/valid (the, cat, sat, dog, ran, a)"
    assert f"{arpa} knows none of the 6 different words of {where}: it is of another" in message


def test_without_lmplz_it_says_where_to_get_it(texts, capsys, monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere")
    message = fault_of(capsys, *texts)
    assert message.startswith(
        "lmplz, which trains the language model, is not on PATH: build it from github.com/kpu/kenlm"
    )
    assert message.endswith("or train elsewhere and name the file, --lm FILE.arpa")


def test_lmplz_gets_the_transcripts_and_the_order(texts, tmp_path, capsys, fake_lmplz):
    write_arpa(tmp_path / "made", SENTENCES)
    fake_lmplz(f'[[ $order == 4 && $fallback == 1 ]] && cp {tmp_path}/made "$arpa"')
    prepare_lm.main(["--order", "4", *texts])
    assert capsys.readouterr().out == f"{tmp_path}/lm/lm.arpa\n"
    assert (tmp_path / "lm/text").read_text().splitlines() == SENTENCES
    assert load_model(tmp_path / "lm/lm.arpa").order == 2
    assert sorted(path.name for path in (tmp_path / "lm").iterdir()) == ["lm.arpa", "lmplz.log", "text"]


def test_a_text_is_written_as_the_transcripts_before_lmplz_gets_it(texts, tmp_path, fake_lmplz):
    write_arpa(tmp_path / "made", SENTENCES)
    fake_lmplz(f'cp {tmp_path}/made "$arpa"')
    (tmp_path / "news").write_text("\ufeffThe cat, the DOG!\n\n  \u201cRan?\u201d\n?!\n")
    prepare_lm.main(["--lm", f"{tmp_path}/news", *texts])
    assert (tmp_path / "lm/text").read_text().splitlines() == ["the cat the dog", "ran"]


@pytest.mark.parametrize(
    ("script", "message"),
    [
        ("echo no room >&2; echo at all >&2; exit 3", "(status 3): no room at all; see"),
        ("exit 1", "(status 1): no message; see"),
        ('echo rubbish >"$arpa"', "lm.arpa cannot be read as a language model"),
    ],
)
def test_a_failing_lmplz_is_told(texts, capsys, tmp_path, fake_lmplz, script, message):
    fake_lmplz(script)
    assert message in fault_of(capsys, *texts)


@pytest.mark.parametrize(
    ("training", "text", "expected"),
    [
        (["the cat"], "The  CAT\u2014ran 5 km.", "the cat ran 5 km"),
        (["THE CAT'S"], "the dog's", "THE DOG'S"),
        (["The cat."], "A Dog, ran.", "A Dog ran."),
        (["die \u00e4hre"], "a\u0308hre", "\u00e4hre"),
        (["शिक्षा"], "शिक्षा।", "शिक्षा"),
        (["a b"], "a ❤\ufe0f b \U0001f469\u200d\U0001f52c می\u200cخ ب\u20e3", "a b میخ ب"),
        (["a می\u200cخ"], "\u200d می\u200cخ", "می\u200cخ"),
    ],
)
def test_texts_are_spelled_as_the_training_set(training, text, expected):
    assert Spelling(training, TextRules()).apply(text) == expected


def test_the_rules_of_the_transcripts_come_first(texts, tmp_path, fake_lmplz):
    fake_lmplz("cp $text $arpa.text; exit 1")
    (tmp_path / "text.yaml").write_text("case: lower\nlanguage: tr\ndigits: remove\n")
    (tmp_path / "corpus").write_text("IĞDIR 12 KM\n")
    with pytest.raises(SystemExit):
        prepare_lm.main(["--lm", f"{tmp_path}/corpus", *texts, "--text_config", f"{tmp_path}/text.yaml"])
    assert (tmp_path / "lm/text").read_text() == "ığdır km\n"


def test_a_script_without_blanks_has_no_words_to_count(texts, tmp_path, capsys):
    (tmp_path / "text").write_text("u1 สวัสดีครับ\nu2 ขอบคุณ\n", encoding="utf-8")
    arpa = write_arpa(tmp_path / "x.arpa", SENTENCES)
    message = fault_of(capsys, "--lm", str(arpa), *texts)
    assert "Thai is written without spaces between words" in message and "decode without --lm" in message


def test_copies_at_other_speeds_count_once(tmp_path):
    (tmp_path / "text").write_text("a x y\nb x y\nsp0.9-a x y\nsp0.9-b x y\nsp1.1-c z\n")
    assert read_training_sentences(tmp_path / "text") == ["x y", "x y", "z"]
