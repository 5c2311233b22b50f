"""Where nothing is written yet."""

from itertools import pairwise

from drawn_annotations import TEXTS, draw_tiers
from hypothesis import given, settings
from hypothesis import strategies as st

from espnet_wsm.annotations import Segment, Tier
from espnet_wsm.annotations.stretches import find_untranscribed, floor_milliseconds


def test_stretches_lie_between_the_annotations_of_all_tiers():
    tiers = (
        Tier("a", (Segment(1, 2, "x"), Segment(4, 5, " \n"), Segment(7, 7, "a point"))),
        Tier("b", (Segment(1.5, 2.5, "y"), Segment(9, 12, "beyond"))),
    )
    assert find_untranscribed(tiers, (0, 10_000)) == [(0, 1000), (2500, 9000)]
    assert find_untranscribed(tiers, (500, 10_000), shortest=501) == [(2500, 9000)]
    assert find_untranscribed(tiers[:1], (0, 3000)) == [(0, 1000), (2000, 3000)]
    assert find_untranscribed((), (0, 10)) == [(0, 10)]
    assert find_untranscribed((), (0, 0)) == []


def test_stretches_begin_and_end_on_whole_milliseconds_outside_of_annotations():
    assert 1.001 * 1000 < 1001 and floor_milliseconds(1.001) == 1001
    tier = Tier("a", (Segment(1.001, 2.0011, "x"),))
    assert find_untranscribed([tier], (0, 3000)) == [(0, 1001), (2002, 3000)]


@settings(max_examples=40, deadline=None)
@given(draw_tiers(TEXTS), st.integers(0, 3000), st.integers(0, 30_000), st.integers(0, 500))
def test_stretches_are_the_milliseconds_without_text(tiers, begin, end, shortest):
    spoken = set()
    for tier in tiers:
        for segment in tier.segments:
            if segment.text.strip():
                spoken |= set(range(round(segment.start * 1000), round(segment.end * 1000)))
    found = find_untranscribed(tiers, (begin, end))
    assert {time for start, stop in found for time in range(start, stop)} == set(range(begin, end)) - spoken
    assert all(one[1] < other[0] for one, other in pairwise(found))
    longer = [stretch for stretch in found if stretch[1] - stretch[0] >= shortest]
    assert find_untranscribed(tiers, (begin, end), shortest) == longer
