"""Transcripts of eleven languages in one spelling, and what a character is in them."""

import argparse
import itertools
import unicodedata

import pytest
import regex
from hypothesis import given
from hypothesis import strategies as st

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


@pytest.mark.parametrize(
    ("written", "spelt"),
    [
        ("we \U0001f469\u200d\U0001f52c work", "we work"),  # a scientist
        ("a ❤\ufe0f b \U0001f44d\U0001f3fd c \U0001f1e8\U0001f1ff", "a b c"),  # heart, skin tone, flag
        ("\U0001f3f4\U000e0067\U000e0062\U000e007f ahoy \u061c!", "ahoy"),  # a flag of tags, a direction
        ("1\ufe0f\u20e3 #\ufe0f\u20e3 a\u20dd", "1 a"),  # keycaps, an enclosing circle
        ("你\U0001f469\u200d\U0001f52c好", "你好"),
        ("आ -\u093e ◌\u0947 \u0902 ब", "आ ब"),  # vowel signs without letters
        ("ٱلْعَٰلَمِينَ \u06dd ۞ \u06d6 ب", "ٱلْعَٰلَمِينَ ب"),  # end of a verse, pause
        ("葛\U000e0100 \u3164 \uffa0x\u034f\U0001d173", "葛 x"),  # an ideograph's variant, fillers, music
        ("می\u200cخواهم «\u200cاو» ක්\u200dෂ ന്\u200d", "می\u200cخواهم او ක්\u200dෂ ന്\u200d"),
        ("ᠬᠠ\u180eᠠ \u180b ᠠ\u180b", "ᠬᠠ\u180eᠠ ᠠ\u180b"),
        ("don'\u0301 t'a", "don t'a"),
    ],
)
def test_signs_take_their_marks_joiners_and_selectors_along(written, spelt):
    spelt = unicodedata.normalize("NFC", spelt)
    assert TextRules(punctuation="remove").apply(written) == spelt
    assert TextRules(punctuation="remove").apply(spelt) == spelt


@pytest.mark.parametrize(
    ("rules", "written", "spelt"),
    [
        (TextRules(), "a \u200d b \u0301 ❤\ufe0f \u061c\u2061c", "a b ❤ c"),
        (TextRules(digits="remove"), "a 1\ufe0f\u20e3 ४\u0902 b", "a b"),
        (TextRules(strip=("tatweel",)), "ب \u0640\u064e ت", "ب ت"),
        (TextRules(symbols=("[é]",)), "[e\u0301]\u200d x", "[é] x"),
        (TextRules(symbols=("[eng]",)), "[e\u200bng]\u061c \u200d", ""),
        (TextRules(case="lower"), "ΣΟΦΟ\u034fΣ", "σοφος"),
    ],
)
def test_what_lost_its_letter_goes_whatever_removed_it(rules, written, spelt):
    assert rules.apply(written) == spelt


ALPHABET = st.sampled_from(
    "aİıIßΣσñㄱ1२½你のกिक्مهـَ '’-.#$❤ \t\x85\u0301\u0307\u0308\u0338\u0345\u0327\u093e\u064e\u05b4\u3099\u0653"
    "\u200c\u200d\u180b\u180e\ufe0f\U000e0100\u20e3\u061c\u034f\u115f\u3164\u06dd\U0001f469\U0001f3fd\U0001f1e8\U000e0067"
)


@given(
    st.text(ALPHABET | st.characters(exclude_categories=["Cs"])),
    st.sampled_from(["keep", "lower", "upper"]),
    st.sampled_from(["keep", "ascii", "remove"]),
    st.sampled_from(["keep", "remove"]),
    st.sampled_from(["", "tr"]),
    st.sampled_from([(), ("harakat", "tatweel", "niqqud")]),
)
def test_spelling_is_idempotent_and_has_no_words_of_marks(text, case, digits, punctuation, language, strip):
    rules = TextRules(case, language, punctuation, digits=digits, strip=strip)
    spelt = rules.apply(text)
    assert rules.apply(spelt) == spelt and unicodedata.is_normalized("NFC", spelt)
    lone = regex.compile(r"[\p{M}\p{Cf}\p{Default_Ignorable_Code_Point}]+")
    assert not any(lone.fullmatch(word) for word in spelt.split() if punctuation == "remove")
    ignorable = set(regex.findall(r"\p{Default_Ignorable_Code_Point}", spelt))
    assert ignorable <= set("\u200c\u200d\u180b\u180c\u180d\u180e\u180f")


@given(st.text(ALPHABET))
def test_text_is_spelt_alike_however_signs_surround_it(written):
    rules = TextRules(punctuation="remove", keep="")
    words = rules.apply(written).split()
    for left, right in itertools.pairwise(["\u200d", "❤\ufe0f", "(", "\U0001f469\u200d\U0001f52c", ""]):
        assert rules.apply(f"{left} {written} {right}").split() == words


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
