"""Batches hold neighbours, and no more than they may."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from espnet_wsm.data.dump.batches import make_batches


@given(st.lists(st.integers(1, 50)), st.integers(1, 120), st.booleans())
def test_batches_are_as_large_as_they_may_be_and_keep_the_order(lengths, limit, padded):
    def size(batch: list[int]) -> int:
        return max(batch) * len(batch) if padded else sum(batch)

    batches = list(make_batches(lengths, int, limit, padded))
    assert [each for batch in batches for each in batch] == lengths
    assert all(len(batch) == 1 or size(batch) <= limit for batch in batches)
    assert all(size([*batch, after[0]]) > limit for batch, after in pairwise(batches))


def test_padding_counts_unless_lengths_add_up():
    assert list(make_batches([1, 2, 3, 9], int, 9)) == [[1, 2, 3], [9]]
    assert list(make_batches([1, 2, 3, 9], int, 6, padded=False)) == [[1, 2, 3], [9]]
    assert list(make_batches([3, 2, 1, 1], int, 9)) == [[3, 2, 1], [1]]
