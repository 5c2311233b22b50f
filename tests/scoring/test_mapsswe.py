"""The alignment against a loop and sclite, segments by hand, and MAPSSWE against NIST's sc_stats."""

import functools
import math
import random
import re
import subprocess

import pytest

from espnet_wsm.scoring import sc_stats as runner
from espnet_wsm.scoring import sclite
from espnet_wsm.scoring.mapsswe import align_like_sclite, compare_segments, count_errors, cut_segments
from espnet_wsm.scoring.python_scorer import score_utterances
from espnet_wsm.scoring.sc_stats import NOT_FOUND, find_sc_stats, run_sc_stats
from espnet_wsm.scoring.sclite import find_sclite
from espnet_wsm.scoring.trn import TextPair, split_characters, write_trns

SENTENCES = (
    "the meeting starts at nine in the small room behind the kitchen",
    "please leave a message after the tone and press the hash key",
    "nobody told me that the train to the coast had been cancelled again",
    "she said so",
    "yes",
)


@pytest.fixture
def sc_stats():
    """Skips where sc_stats is not installed."""
    if find_sc_stats() is None:
        pytest.skip(NOT_FOUND)


def corrupt(words, rate, vocabulary, draw):
    """``words`` with about ``rate`` errors a word: half substitutions, the rest deletions and insertions."""
    result = []
    for word in words:
        what = draw.random() / rate
        if what < 0.5:
            result.append(draw.choice(vocabulary))
        elif what >= 0.75:
            result.append(word)
        if draw.random() < rate / 4:
            result.append(draw.choice(vocabulary))
    return tuple(result)


def make_systems(references, rates, vocabulary, draw):
    """The pairs of each system, one per rate."""
    return [
        [
            TextPair(f"u{index}", "s", words, corrupt(words, rate, vocabulary, draw))
            for index, words in enumerate(references)
        ]
        for rate in rates
    ]


def draw_systems(seed):
    """Two systems on natural-like text (some words are spoilt) or on text of two to four different words."""
    draw = random.Random(seed)
    rate = draw.choice([0.1, 0.2, 0.4])
    rates = [rate, rate * draw.choice([0.5, 0.8, 1, 1.2])]
    number = draw.choice([20, 80])
    if seed % 2:
        vocabulary = sorted({word for sentence in SENTENCES for word in sentence.split()})
        references = [tuple(draw.choice(SENTENCES).split()) for _ in range(number)]
    else:
        vocabulary = "abcd"[: draw.randint(2, 4)]
        references = [tuple(draw.choices(vocabulary, k=draw.randint(1, 30))) for _ in range(number)]
    return make_systems(references, rates, vocabulary, draw)


def compare(pairs_a, pairs_b):
    steps = [
        [align_like_sclite(pair.reference, pair.hypothesis) for pair in pairs] for pairs in (pairs_a, pairs_b)
    ]
    return compare_segments([one for both in zip(*steps, strict=True) for one in cut_segments(*both)])


def align_slowly(reference, hypothesis):
    """Best (cost, steps) of the first i and j tokens; where steps cost the same, sclite's order decides."""

    @functools.cache
    def best(i, j):
        if i == 0 or j == 0:
            return 3 * (i + j), "D" * i + "I" * j
        same = reference[i - 1] == hypothesis[j - 1]
        cost, steps = best(i - 1, j - 1)
        choices = [(cost + (0 if same else 4), 0, steps + ("C" if same else "S"))]
        for order, letter, (cost, steps) in ((1, "I", best(i, j - 1)), (2, "D", best(i - 1, j))):
            choices.append((cost + 3, order, steps + letter))
        cost, _, steps = min(choices)
        return cost, steps

    return best(len(reference), len(hypothesis))[1]


@pytest.mark.parametrize(
    ("reference", "hypothesis", "steps"),
    [
        ("abcd", "abcd", "CCCC"),
        ("abcd", "xbde", "SCDCI"),
        ("ab", "ba", "DCI"),  # cost 6, two substitutions cost 8
        ("ab", "aab", "ICC"),
        ("aab", "ab", "DCC"),
        ("ab", "xyz", "ISS"),
        ("", "ab", "II"),
        ("ab", "", "DD"),
        ("", "", ""),
    ],
)
def test_alignment_by_hand(reference, hypothesis, steps):
    assert align_like_sclite(tuple(reference), tuple(hypothesis)) == steps
    assert align_slowly(reference, hypothesis) == steps


def test_alignment_equals_that_of_a_loop():
    draw = random.Random(0)
    for _ in range(1500):
        vocabulary = "abcdefgh"[: draw.randint(1, 8)]
        reference, hypothesis = (tuple(draw.choices(vocabulary, k=draw.randint(0, 9))) for _ in range(2))
        assert align_like_sclite(reference, hypothesis) == align_slowly(reference, hypothesis)


@pytest.mark.sclite
def test_alignment_is_that_of_sclite(tmp_path):
    draw = random.Random(1)
    pairs = []
    for index in range(1000):
        vocabulary = "abcdefgh"[: draw.randint(1, 8)]
        reference, hypothesis = (tuple(draw.choices(vocabulary, k=draw.randint(1, 12))) for _ in range(2))
        pairs.append(TextPair(f"u{index}", "s", reference, hypothesis))
    write_trns(tmp_path, pairs)
    command = [*find_sclite(), "-r", "ref.trn", "trn", "-h", "hyp.trn", "trn", "-i", "rm", "-s"]
    command += ["-o", "sgml", "stdout"]
    report = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True).stdout
    found = dict(re.findall(r'<PATH id="\(s-(u\d+)\)".*>\n(.*)\n</PATH>', report))
    assert len(found) == len(pairs)
    for pair in pairs:
        steps = align_like_sclite(pair.reference, pair.hypothesis)
        assert steps == "".join(step[0] for step in found[pair.id].split(":")), pair
        assert count_errors(steps) == len(re.findall("[SDI],", found[pair.id]))


def test_natural_text_has_as_many_errors_as_jiwer_finds():
    for pairs in draw_systems(5):
        counts = score_utterances(pairs)
        ours = [count_errors(align_like_sclite(pair.reference, pair.hypothesis)) for pair in pairs]
        assert ours == [one.errors for one in counts] and sum(ours) > 50


@pytest.mark.parametrize(
    ("steps_a", "steps_b", "segments"),
    [
        ("CCCCC", "CCCCC", []),
        ("SCCCC", "CCCCC", [(1, 0)]),
        ("CCCCS", "CCCCD", [(1, 1)]),
        ("SCCS", "CCCC", [(1, 0), (1, 0)]),  # two right words part
        ("SCCS", "CCCS", [(1, 0), (1, 1)]),
        ("SCS", "CCC", [(2, 0)]),  # one does not
        ("SCCS", "CSCC", [(2, 1)]),  # they have to be right by both
        ("SCICS", "CCCC", [(3, 0)]),  # and without an insertion between them
        ("SCCS", "CCICC", [(2, 1)]),
        ("SCCIC", "SCCC", [(1, 1), (1, 0)]),  # an insertion after them starts the next
        ("CCI", "CC", [(1, 0)]),  # at the end, by either
        ("CC", "CCI", [(0, 1)]),
        ("ICC", "CC", [(1, 0)]),
        ("III", "I", [(3, 1)]),  # no reference at all
        ("", "", []),
    ],
)
def test_segments_by_hand(steps_a, steps_b, segments):
    assert cut_segments(steps_a, steps_b) == segments
    assert cut_segments(steps_b, steps_a) == [(wrong_b, wrong_a) for wrong_a, wrong_b in segments]


def test_segments_hold_all_errors():
    for seed in range(4):
        for one, other in zip(*draw_systems(seed), strict=True):
            steps = [align_like_sclite(pair.reference, pair.hypothesis) for pair in (one, other)]
            segments = cut_segments(*steps)
            assert sum(wrong for wrong, _ in segments) == count_errors(steps[0])
            assert sum(wrong for _, wrong in segments) == count_errors(steps[1])
            assert (0, 0) not in segments


def test_alignments_with_other_references_are_refused():
    with pytest.raises(ValueError, match="alignments of 2 and 3 reference words"):
        cut_segments("CCI", "CCC")


def test_statistic_by_hand():
    """Differences 1, 0, 2, 1: mean 1, squares 0 + 1 + 1 + 0 over 3."""
    found = compare_segments([(2, 1), (1, 1), (2, 0), (1, 0)])
    assert (found.segments, found.mean) == (4, 1.0)
    assert found.deviation == pytest.approx(math.sqrt(2 / 3))
    assert found.z == pytest.approx(math.sqrt(6))
    assert found.p == pytest.approx(0.014306, abs=1e-6)
    assert "4 segments: the normal approximation needs about 30" in found.caution
    swapped = compare_segments([(1, 2), (1, 1), (0, 2), (0, 1)])
    assert (swapped.mean, swapped.z, swapped.p) == (-found.mean, -found.z, found.p)


@pytest.mark.parametrize(
    ("segments", "mean", "caution"),
    [
        ([], 0.0, "no segment holds an error"),
        ([(1, 1)] * 40, 0.0, None),
        ([(1, 0)] * 40, 1.0, "by the same number of errors in each of 40 segments"),
        ([(0, 2)], -2.0, "by the same number of errors in each of 1 segments"),
    ],
)
def test_differences_without_spread_are_no_difference(segments, mean, caution):
    found = compare_segments(segments)
    assert (found.segments, found.mean, found.deviation) == (len(segments), mean, 0.0)
    assert (found.z, found.p) == (0.0, 1.0)
    assert found.caution is None if caution is None else caution in found.caution


def test_enough_segments_need_no_caution():
    assert compare_segments([(1, 0), (0, 1)] * 15).caution is None
    assert compare_segments([(1, 0), (0, 1)] * 14).caution is not None


def check_against_sc_stats(pairs_a, pairs_b):
    ours = compare(pairs_a, pairs_b)
    theirs, reason = run_sc_stats(pairs_a, pairs_b)
    assert reason is None
    assert theirs.segments == ours.segments
    for name in ("mean", "deviation", "z"):
        assert getattr(theirs, name) == pytest.approx(getattr(ours, name), abs=0.00051), name
    assert theirs.differs == (ours.p < 0.05)
    if theirs.p == "<0.001":
        assert ours.p < 0.0015
    else:  # sc_stats cuts |z| to two decimals before it looks p up
        assert ours.p - 0.001 <= float(theirs.p) <= ours.p + 0.009
    return ours


@pytest.mark.sclite
@pytest.mark.parametrize("seed", range(12))
def test_result_equals_that_of_sc_stats(sc_stats, seed):
    systems = draw_systems(seed)
    ours = check_against_sc_stats(*systems)
    back = check_against_sc_stats(*systems[::-1])
    assert ours.segments > 10 and ours.z == -back.z


def test_random_systems_hold_both_verdicts():
    """The guard of the test above: sc_stats was asked about clear and unclear differences."""
    assert {compare(*draw_systems(seed)).p < 0.05 for seed in range(12)} == {True, False}


@pytest.mark.sclite
def test_characters_equal_those_of_sc_stats(sc_stats):
    systems = [[split_characters(pair) for pair in pairs] for pairs in draw_systems(1)]
    check_against_sc_stats(*systems)


@pytest.mark.sclite
def test_any_words_and_ids_reach_sc_stats(sc_stats):
    words = (
        '"',
        ":",
        ",",
        'a:"b",',
        "{",
        "a/b",
        ";;",
        "(x)",
        "\\",
        "A",
        "a",
        "ё",
        "Ё",
        "<space>",
        "a\u00a0b",
        "@",
    )
    draw = random.Random(2)
    references = [tuple(draw.choices(words, k=8)) for _ in range(40)]
    systems = [
        [TextPair(f'u"({index}', "s:-(", pair.reference, pair.hypothesis) for index, pair in enumerate(pairs)]
        for pairs in make_systems(references, (0.2, 0.4), words, draw)
    ]
    check_against_sc_stats(*systems)


@pytest.mark.sclite
def test_equal_differences_are_no_difference_to_sc_stats(sc_stats):
    reference = ("a", "b", "c")
    right = [TextPair(f"u{index}", "s", reference, reference) for index in range(40)]
    wrong = [TextPair(f"u{index}", "s", reference, ("a", "b")) for index in range(40)]
    assert check_against_sc_stats(right, wrong).mean == -1.0
    theirs, _ = run_sc_stats(right, wrong)
    assert (theirs.z, theirs.differs, theirs.p) == (0.0, False, "1.000")


@pytest.mark.sclite
def test_crash_of_sc_stats_is_a_reason(sc_stats):
    """Without any segment it reads beyond its empty list."""
    pairs = [TextPair("u1", "s", ("a",), ("a",))] * 2
    theirs, reason = run_sc_stats(pairs, pairs)
    assert theirs is None and reason.startswith("sc_stats failed")


def test_missing_sc_stats_is_a_reason(tmp_path, monkeypatch):
    monkeypatch.setattr(sclite, "DEBIAN_SCLITE", str(tmp_path / "sclite"))
    monkeypatch.setattr(sclite.sys, "executable", str(tmp_path / "python"))
    monkeypatch.setenv("PATH", str(tmp_path))
    assert run_sc_stats([], []) == (None, NOT_FOUND)
    (tmp_path / "sclite").write_text("#!/bin/sh\n")
    (tmp_path / "sclite").chmod(0o755)
    assert run_sc_stats([], []) == (None, NOT_FOUND)


@pytest.mark.parametrize("name", ["sclite", "sctk"])
def test_sc_stats_is_found_as_sclite_is(tmp_path, monkeypatch, name):
    monkeypatch.setattr(sclite, "DEBIAN_SCLITE", str(tmp_path / "debian"))
    monkeypatch.setattr(sclite.sys, "executable", str(tmp_path / "python"))
    monkeypatch.setenv("PATH", str(tmp_path))
    for program in (name, "sc_stats"):
        (tmp_path / program).write_text("#!/bin/sh\n")
        (tmp_path / program).chmod(0o755)
    expected = [str(tmp_path / "sctk"), "sc_stats"] if name == "sctk" else [str(tmp_path / "sc_stats")]
    assert find_sc_stats() == expected


@pytest.fixture
def fake_programs(tmp_path, monkeypatch):
    """Puts shell scripts in the place of sclite and sc_stats."""

    def install(sclite_body, sc_stats_body):
        for name, body in (("sclite", sclite_body), ("sc_stats", sc_stats_body)):
            script = tmp_path / name
            script.write_text(f"#!/bin/sh\n{body}\n")
            script.chmod(0o755)
            monkeypatch.setattr(runner, f"find_{name}", lambda path=str(script): [path])

    return install


@pytest.mark.parametrize(
    ("sclite_body", "sc_stats_body", "message"),
    [
        ("sleep 30", "true", "did not finish within 0.3 s"),
        ("true", "sleep 30", "did not finish within 0.3 s"),
        ("exit 3", "true", "sc_stats failed"),
        ("true", "exit 3", "sc_stats failed"),
        ("true", "echo Successful", "printed something else than its report"),
    ],
)
def test_programs_that_fail_are_a_reason(fake_programs, sclite_body, sc_stats_body, message):
    fake_programs(sclite_body, sc_stats_body)
    theirs, reason = run_sc_stats(*draw_systems(0), timeout=0.3)
    assert theirs is None and message in reason
