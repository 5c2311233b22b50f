"""Ids for names of any script: no two names become one."""

import itertools

import pytest

from espnet_wsm.data.kaldi.lists import find_id_fault, make_ids

DEVANAGARI = ["कि", "कु", "के", "को", "क", "काँ"]
THAI = ["กิ", "กี", "กุ", "ก่า", "ก้า", "กา"]


@pytest.mark.parametrize("names", [DEVANAGARI, THAI, ["e\u0301", "e\u0300"], ["a.b=c+d@e-f_1"]])
def test_letters_and_their_marks_stay(names):
    assert make_ids({name: name for name in names}) == {name: name for name in names}


@pytest.mark.parametrize(
    ("names", "ids"),
    [
        (["a b", "a_b"], ["a_b-2", "a_b"]),
        (["a b", "a  b", "a/b", "a_b-2"], ["a_b", "a_b-3", "a_b-4", "a_b-2"]),
        (["?", "!", "\U0001f600"], ["_", "_-2", "_-3"]),
        (
            ["\u0dc1\u0dca\u200d\u0dbb", "\u0dc1\u0dca\u200c\u0dbb"],
            ["\u0dc1\u0dca_\u0dbb", "\u0dc1\u0dca_\u0dbb-2"],
        ),
    ],
)
def test_names_that_would_become_one_get_numbers(names, ids):
    assert list(map(make_ids({name: name for name in names}).get, names)) == ids


def test_no_two_names_become_one():
    names = ["".join(letters) for n in (1, 2, 3) for letters in itertools.product("a_ -2\u0e34", repeat=n)]
    ids = make_ids({name: name for name in names})
    assert len(set(ids.values())) == len(names) and not any(map(find_id_fault, ids.values()))
