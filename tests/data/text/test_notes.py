"""What transcribers put in brackets."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from espnet_wsm.data.text.notes import PAIRS, has_notes, remove_notes


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("mhoro [laughs] shamwari", "mhoro shamwari"),
        ("(unclear)", ""),
        ("a [b (c) d] e", "a e"),
        ("((two)) three", "three"),
        ("wo(r)d", "wod"),
        ("【笑】你好（？）", "你好"),
        ("it's <fill> fine", "it's fine"),
        ("no [end", None),
        ("] no (start", None),
        ("a [b) c]", "a"),
        ("plain", "plain"),
    ],
)
def test_notes_are_removed(text, left):
    assert remove_notes(text) == left
    assert has_notes(text) == (left != text)


@given(st.text(alphabet="ab [](){}<>"))
def test_no_bracket_is_left_and_nothing_is_added(text):
    left = remove_notes(text)
    assert left is None or not has_notes(left)
    assert left is None or sum(map(left.count, "ab")) <= sum(map(text.count, "ab"))
    if not any(sign in text for pair in PAIRS.items() for sign in pair):
        assert left == " ".join(text.split())
