"""Transcripts of eleven languages in one spelling, and what a character is in them."""

import argparse
import unicodedata

import pytest

from espnet_wsm.data.text.rules import (
    TextRules,
    add_text_arguments,
    find_unspaced_script,
    read_text_arguments,
    read_text_rules,
    split_graphemes,
)
from espnet_wsm.errors import UserError

PLAIN = TextRules(case="lower", punctuation="remove", digits="ascii")
# Language, as written, as spelt by PLAIN (Turkish: by its own rule), code points, graphemes.
SENTENCES = [
    ("hi", "नमस्ते, दुनिया! १२।", "नमस्ते दुनिया 12", 16, 10),
    ("ta", "வணக்கம், உலகம்!", "வணக்கம் உலகம்", 13, 10),
    ("te", "హలో, ప్రపంచం.", "హలో ప్రపంచం", 11, 6),
    ("th", "สวัสดีครับ “ผม” กินข้าว", "สวัสดีครับ ผม กินข้าว", 21, 16),
    ("ar", "السَّلامُ عَلَيْكُم، ٣ مرات؟", "السَّلامُ عَلَيْكُم 3 مرات", 26, 19),
    ("am", "ሰላም፡ዓለም። እንዴት ነህ?", "ሰላም ዓለም እንዴት ነህ", 15, 15),
    ("zh", "你好，世界。我有３本书！", "你好世界我有3本书", 9, 9),
    ("ja", "これは、テストです。", "これはテストです", 8, 8),
    ("tr", "IĞDIR'da İYİ ışık?", "ığdır'da iyi ışık", 17, 17),
    ("de", "„Straße“ – groß & schön!", "straße groß schön", 17, 17),
    ("sw", "Ng’ombe wangu; jina lake ni Ng'ara.", "ng'ombe wangu jina lake ni ng'ara", 33, 33),
    ("km", "សួស្តី ពិភពលោក។", "សួស្តី ពិភពលោក", 14, 8),
]


def rules_of(language: str) -> TextRules:
    return TextRules(case="lower", punctuation="remove", digits="ascii", language=language)


@pytest.mark.parametrize(
    ("language", "written", "spelt"), [s[:3] for s in SENTENCES], ids=[s[0] for s in SENTENCES]
)
def test_each_language_is_spelt_as_its_readers_do(language, written, spelt):
    for form in ("NFC", "NFD"):  # however it was typed
        assert rules_of(language).apply(unicodedata.normalize(form, written)) == unicodedata.normalize(
            "NFC", spelt
        )


@pytest.mark.parametrize(
    ("language", "spelt", "points", "graphemes"),
    [(s[0], *s[2:]) for s in SENTENCES],
    ids=[s[0] for s in SENTENCES],
)
def test_code_points_and_graphemes_are_counted(language, spelt, points, graphemes):
    spelt = unicodedata.normalize("NFC", spelt)
    assert "".join(split_graphemes(spelt)) == spelt
    assert (len(spelt), len(split_graphemes(spelt))) == (points, graphemes)


@pytest.mark.parametrize("written", [s[1] for s in SENTENCES], ids=[s[0] for s in SENTENCES])
def test_marks_are_kept_and_nothing_changes_twice(written):
    def marks(text):
        return [c for c in unicodedata.normalize("NFD", text) if unicodedata.category(c)[0] == "M"]

    for rules in (TextRules(), PLAIN, TextRules(case="upper", punctuation="remove", digits="remove")):
        spelt = rules.apply(written)
        assert marks(spelt) == marks(written)
        assert rules.apply(spelt) == spelt


def test_without_configuration_only_composition_blanks_and_directions_change():
    assert read_text_rules(None) == TextRules()
    written = " \u200f\x07E\u0301a,\u00a0 „B”\tso\u00adft\ufeff 12 ک\u200cه\u200d!"
    assert TextRules().apply(written) == "Éa, „B” soft 12 ک\u200cه\u200d!"


@pytest.mark.parametrize(
    ("names", "written", "spelt"),
    [
        (("harakat",), "السَّلامُ عَلَيْكُم أؤئآ", "السلام عليكم أؤئآ"),
        (("tatweel",), "ســلام", "سلام"),
        (("harakat", "tatweel"), "مُـحَمَّد", "محمد"),
        (("niqqud",), "שָׁלוֹם", "שלום"),
    ],
)
def test_marks_go_only_by_name(names, written, spelt):
    assert TextRules(strip=names).apply(written) == spelt
    assert TextRules().apply(written) == unicodedata.normalize("NFC", written)


@pytest.mark.parametrize(
    ("lower", "upper", "language"),
    [
        ("ılık içi", "ILIK İÇİ", "tr"),
        ("ılıq içi", "ILIQ İÇİ", "az-Latn"),
        ("inn", "INN", "de"),
        ("οδος όχι", "ΟΔΟΣ ΌΧΙ", "el"),
    ],
)
def test_case_follows_the_language(lower, upper, language):
    assert TextRules(case="upper", language=language).apply(lower) == upper
    expected = lower.replace("οδος", "οδος"[:-1] + "ς")
    assert TextRules(case="lower", language=language).apply(upper) == expected


def test_signs_stay_inside_words_alone():
    rules = TextRules(punctuation="remove", keep="'-·")
    assert rules.apply("'Tis rock-'n'-roll - col·lega, don’t! l' $5 + 3%") == (
        "Tis rock n roll col·lega don't l 5 3"
    )
    assert TextRules(punctuation="remove", keep="").apply("don’t") == "don t"


def test_symbols_stay_as_they_are():
    rules = TextRules(case="upper", punctuation="remove", symbols=("[tur]", "<noise>"))
    assert rules.apply("[tur] olsun, (<noise>) bu<noise>da!  [x]") == "[tur] OLSUN <noise> BU<noise>DA X"
    assert rules.apply("[tur] ...") == "", "no words"
    assert rules.apply("[tur]") == ""


def test_the_language_is_that_of_the_configuration_or_else_of_the_option(tmp_path):
    (tmp_path / "text.yaml").write_text("case: lower\n")
    (tmp_path / "symbols").write_text("[a]\n[ab]\n")
    parser = argparse.ArgumentParser()
    add_text_arguments(parser)
    words = ["--text_config", str(tmp_path / "text.yaml"), "--lang", "tr_tr"]
    rules = read_text_arguments(parser.parse_args(words))
    assert (rules.language, rules.symbols, rules.apply("I")) == ("tr_tr", (), "ı")
    (tmp_path / "text.yaml").write_text("case: lower\nlanguage: de\n")
    words += ["--non_linguistic_symbols", str(tmp_path / "symbols")]
    rules = read_text_arguments(parser.parse_args(words))
    assert (rules.language, rules.symbols, rules.apply("I")) == ("de", ("[ab]", "[a]"), "i")
    assert read_text_arguments(parser.parse_args([])) == TextRules()


@pytest.mark.parametrize(("digits", "spelt"), [("keep", "४२ ৭ ½"), ("ascii", "42 7 ½"), ("remove", "")])
def test_digits(digits, spelt):
    assert TextRules(digits=digits).apply("४२ ৭ ½") == spelt


def test_a_configuration_is_read(tmp_path):
    path = tmp_path / "text.yaml"
    path.write_text(
        'case: upper\nlanguage: tr\npunctuation: remove\nkeep: "-\'"\ndigits: ascii\n'
        "strip: [harakat, tatweel]\n"
    )
    assert read_text_rules(path) == TextRules(
        "upper", "tr", "remove", "-'", "ascii", strip=("harakat", "tatweel")
    )
    path.write_text("")
    assert read_text_rules(path) == TextRules()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("- lower", "holds no mapping"),
        ("cases: lower", "unknown key cases; there are case, language"),
        ("case: Lower", "case: 'Lower' is none of keep, lower, upper"),
        ("case: [lower]", "none of keep"),
        ("language: no", "language: False is no text: put it into quotes"),
        ("punctuation: true", "punctuation: True is none of keep, remove"),
        ("keep: a-", "keep: 'a' is no sign"),
        ("digits: 5", "digits: 5 is none of"),
        ("strip: harakat", "is no list: write e.g. [harakat]"),
        ("strip: [accents]", "strip: 'accents' is none of harakat, tatweel, niqqud"),
        ("case: lower: x", "is not YAML"),
    ],
)
def test_a_bad_configuration_is_refused_with_its_name(tmp_path, content, message):
    path = tmp_path / "text.yaml"
    path.write_text(content)
    with pytest.raises(UserError) as error:
        read_text_rules(path)
    assert str(error.value).startswith(str(path)) and message in str(error.value)


@pytest.mark.parametrize(
    ("texts", "script"),
    [
        (["สวัสดีครับ ผม", "OK"], "Thai"),
        (["你好 世界"], "Han"),
        (["日本語のテスト"], "Han and Hiragana and Katakana"),
        (["សួស្តី"], "Khmer"),
        (["नमस्ते दुनिया"], None),
        (["안녕하세요 세계"], None),
        (["play 你好 by the Beatles"], None),
        (["12 ?"], None),
        ([], None),
    ],
)
def test_scripts_without_blanks_are_found(texts, script):
    assert find_unspaced_script(texts) == script
