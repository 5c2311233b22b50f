"""Texts become the words that are spoken, and what may not be spoken as written is refused."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from espnet_wsm.data.text.spoken_text import count_letters, find_text_fault, spell_words


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        ("  Hello,   WORLD!  ", "hello world"),
        ("re-routed [beep] (twice) <loud>", "re routed"),
        ("„Kdo?“ – ‘on’…", "kdo on"),
        ("don’t say 'hello'", "don't say hello"),
        ("Zo`n 's nachts", "zo'n s nachts"),
        ("e\u0301te\u0301", "été"),
        ("press * or 5", "press * or 5"),
        (r"C:\WINDOWS", r"c \windows"),
        ("so\u00adft \U0001f469\u200d\U0001f52c ❤\ufe0f 1\ufe0f\u20e3", "soft 1"),
        ("می\u200cخواهم", "می\u200cخواهم"),
        ("м\u0300'я 'тут'", "м\u0300'я тут"),
    ],
)
def test_a_text_becomes_its_words(raw, words):
    assert spell_words(raw) == words


@given(st.text())
def test_words_are_composed_and_stay_as_they_are(raw):
    words = spell_words(raw)
    assert spell_words(words) == words
    assert unicodedata.is_normalized("NFC", words)
    assert words == " ".join(words.split())


@pytest.mark.parametrize(
    ("words", "script", "fault"),
    [
        ("žluťoučký kůň", "latin", None),
        ("l'été", "latin", None),
        ("ёжик", "cyrillic", None),
        ("", "latin", "no words in the text (tone or noise)"),
        ("'", "latin", "no words in the text (tone or noise)"),
        ("dial 500", "latin", "number that can be read in several ways"),
        ("press *", "latin", "spoken symbol or web address"),
        (r"c \windows", "latin", "spoken symbol or web address"),
        ("www asterisk org", "latin", "spoken symbol or web address"),
        ("буква", "latin", "letters outside the latin script"),
        ("буквa", "cyrillic", "letters outside the cyrillic script"),
    ],
)
def test_what_may_not_be_spoken_as_written_is_refused(words, script, fault):
    assert find_text_fault(words, script) == fault


def test_letters_are_counted_without_blanks_and_apostrophes():
    assert count_letters("l'été là") == 6
