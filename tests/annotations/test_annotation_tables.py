"""Tables and labels: our own TSV, Audacity's labels, ELAN's export; and plain text."""

import pytest

from espnet_wsm.annotations import Recording, Segment, Tier, read_annotations, write_annotations
from espnet_wsm.errors import UserError

TIERS = (
    Tier("anna", (Segment(0.5, 1.25, "a\tb\\n\nc", 0.5), Segment(2, 2, "")), speaker="Anna"),
    Tier("boris", (Segment(1, 3.001, "نعم", speaker="Boris"), Segment(4, 5, "x", speaker="Dan"))),
)


def test_a_table_has_a_row_for_each_segment(tmp_path):
    write_annotations(Recording("a.wav", TIERS, 5), tmp_path / "a.tsv")
    assert (tmp_path / "a.tsv").read_text() == (
        "tier\tkind\tspeaker\tstart\tend\tconfidence\ttext\n"
        "anna\tutterances\tAnna\t0.500\t1.250\t0.500\ta\\tb\\\\n\\nc\n"
        "anna\tutterances\tAnna\t2.000\t2.000\t\t\n"
        "boris\tutterances\tBoris\t1.000\t3.001\t\tنعم\n"
        "boris\tutterances\tDan\t4.000\t5.000\t\tx\n"
    )
    assert read_annotations(tmp_path / "a.tsv") == Recording(tiers=TIERS)


def test_a_table_needs_no_more_than_times_and_texts(tmp_path):
    (tmp_path / "a.tsv").write_text(
        "\ufefftext\tend\tstart\tspeaker\r\nlater\t2\t1.5\t\r\nfirst\t1e0\t.5\tA\r\n"
    )
    assert read_annotations(tmp_path / "a.tsv").tiers == (
        Tier("utterances", (Segment(1.5, 2, "later"),)),
        Tier("A", (Segment(0.5, 1, "first"),), speaker="A"),
    )


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("start\tend\n", "line 1: there is no column text: the first line has to name start, end and text"),
        ("start\tend\ttext\tcolour\n", "line 1: the column 'colour' is unknown or there twice"),
        ("start\tend\ttext\ttext\n", "line 1: the column 'text' is unknown or there twice"),
        ("start\tend\ttext\n0\t1\n", "line 2: there are 2 columns, and 3 names in line 1"),
        ("start\tend\ttext\n0\t1\ta\n0\t1_0\ta\n", "line 3: end is '1_0', which is no number"),
        ("start\tend\ttext\n2\t1\ta\n", "line 2: 1 s, where it ends, is before 2 s, where it starts"),
        ("start\tend\ttext\n0\t1\ta\\x\n", r"line 2: '\\\\x' stands for nothing"),
        ("start\tend\ttext\tconfidence\n0\t1\ta\t80\n", "line 2: confidence is 80: it has to be from 0 to 1"),
        ("start\tend\ttext\tkind\n0\t1\ta\tword\n", "the whole table: tier utterances is of kind 'word'"),
        (
            "start\tend\ttext\tkind\n0\t1\ta\twords\n0\t1\ta\tcharacters\n",
            "line 3: tier utterances is of kind characters here and words before",
        ),
    ],
)
def test_what_is_wrong_with_a_table_is_named_by_its_line(content, message, tmp_path):
    (tmp_path / "a.tsv").write_text(content)
    with pytest.raises(UserError, match=f"a.tsv, {message}"):
        read_annotations(tmp_path / "a.tsv")


def test_labels_are_read_and_written_as_audacity_does(tmp_path):
    (tmp_path / "a.txt").write_text(
        '2.500000\t2.500000\tclick\n0,5\t1,25\ta "b"\n\\\t120.0\t3000.0\n3.0\t4.0\n'
    )
    expected = (Segment(0.5, 1.25, 'a "b"'), Segment(2.5, 2.5, "click"), Segment(3, 4, ""))
    assert read_annotations(tmp_path / "a.txt", "audacity").tiers == (Tier("labels", expected),)
    write_annotations(Recording(tiers=TIERS), tmp_path / "b.txt", "audacity")
    assert (tmp_path / "b.txt").read_text() == (
        "0.500000\t1.250000\ta b\\n c\n1.000000\t3.001000\tنعم\n2.000000\t2.000000\t\n4.000000\t5.000000\tx\n"
    )


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("1.0 2.0 a\n", "line 1: there is no tab"),
        ("1.0\t2.0\ta\n1.0\ta\n", "line 2: end is 'a', which is no number"),
        ("2.0\t1.0\ta\n", "line 1: 1 s, where it ends, is before 2 s"),
    ],
)
def test_what_is_wrong_with_labels_is_named_by_its_line(content, message, tmp_path):
    (tmp_path / "a.txt").write_text(content)
    with pytest.raises(UserError, match=f"a.txt, {message}"):
        read_annotations(tmp_path / "a.txt", "audacity")


ROWS = {"A_utt": ("Anna", [(1.25, 2, "hello"), (3, 3.5, "")]), "12": ("", [(0.5, 1, "5")])}
ELAN_TIERS = (
    Tier("A_utt", (Segment(1.25, 2, "hello"), Segment(3, 3.5, "")), speaker="Anna"),
    Tier("12", (Segment(0.5, 1, "5"),)),
)
SHOWN = {
    "hh:mm:ss.ms": lambda seconds: f"00:00:{seconds:06.3f}",
    "ss.msec": lambda seconds: f"{seconds:.3f}",
    "msec": lambda seconds: f"{1000 * seconds:.0f}",
}


def export(forms, duration=True, header=None) -> str:
    """What ELAN writes with these forms of times, with names of columns in one of its languages or none."""
    lines = []
    if header:
        names = header if duration else header[:2]
        lines.append(
            ["Tier", "Participant", *(f"{name} - {form}" for name in names for form in forms), "Annotation"]
        )
    for tier, (speaker, rows) in ROWS.items():
        for start, end, text in rows:
            times = (start, end, end - start) if duration else (start, end)
            lines.append([tier, speaker, *(SHOWN[form](time) for time in times for form in forms), text])
    return "".join("\t".join(line) + "\n" for line in lines)


@pytest.mark.parametrize("forms", [list(SHOWN), ["hh:mm:ss.ms"], ["ss.msec", "msec"], ["msec"]])
@pytest.mark.parametrize("duration", [True, False])
@pytest.mark.parametrize(
    "header", [None, ("Begin Time", "End Time", "Duration"), ("Temps de départ", "temps de fin", "Durée")]
)
def test_elans_export_is_read_whatever_was_chosen(forms, duration, header, tmp_path):
    (tmp_path / "a.txt").write_text(export(forms, duration, header))
    assert read_annotations(tmp_path / "a.txt", "elan_table").tiers == ELAN_TIERS


def test_elans_export_with_a_column_for_each_tier(tmp_path):
    (tmp_path / "a.txt").write_text(
        '"#file:///C:/a.eaf -- offset: 0"\n'
        "Begin Time - hh:mm:ss.ms\tEnd Time - hh:mm:ss.ms\tanna\tboris\t\n"
        "00:00:01.000\t01:00:02.500\tyes\t\t\n00:00:03.000\t01:00:04.000\tno\twell\t\n"
    )
    assert read_annotations(tmp_path / "a.txt", "elan_table").tiers == (
        Tier("anna", (Segment(1, 3602.5, "yes"), Segment(3, 3604, "no"))),
        Tier("boris", (Segment(3, 3604, "well"),)),
    )


def test_elans_export_without_tiers(tmp_path):
    (tmp_path / "a.txt").write_text("00:00:01.000\t00:00:02.000\tyes\n")
    assert read_annotations(tmp_path / "a.txt", "elan_table").tiers == (
        Tier("annotations", (Segment(1, 2, "yes"),)),
    )


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("A\t\t00:00:01.000\tyes\n", "line 1: the columns are not tier, participant, begin, end"),
        ("A\t\t1\t2\t3\t4\tyes\n", "line 1: there are 4 columns of times of one form"),
        ("A\tx\ty\t1\t2\tyes\n", "line 1: the columns are not tier, participant, begin, end"),
        ("Begin Time - msec\tDas\n", "line 1: there is no column of the end"),
        (
            "Begin Time - msec\tEnd Time - msec\n",
            r"line 1: the columns are not \(tier, participant,\) begin, end",
        ),
        ("A\t\t1\t2\tyes\nA\t\t1\tyes\n", "line 2: there are 4 columns, and 5 in the first line"),
        ("A\t\t1\t2\tyes\nA\t\t1\tx\tyes\n", "line 2: 'x' is no time"),
        ("A\t\t1\t2\tyes\nA\t\t3\t2\tyes\n", "line 2: 0.002 s, where it ends, is before 0.003 s"),
        ("A\tp\t1\t2\tyes\nA\tq\t3\t4\tyes\n", "line 2: tier A is of participant q here and p before"),
        ("A\tp\t1\t2\tyes\n\ty\t1\t2\t\x01\n", "line 2: text holds the control character"),
    ],
)
def test_what_is_wrong_with_an_export_is_named_by_its_line(content, message, tmp_path):
    (tmp_path / "a.txt").write_text(content)
    with pytest.raises(UserError, match=f"a.txt, {message}"):
        read_annotations(tmp_path / "a.txt", "elan_table")


def test_plain_text_is_a_line_for_each_segment_in_order_of_time(tmp_path):
    write_annotations(Recording(tiers=TIERS), tmp_path / "a.txt")
    assert (tmp_path / "a.txt").read_text() == "Anna: a b\\n c\nBoris: نعم\nDan: x\n"
    write_annotations(Recording(tiers=TIERS[:1]), tmp_path / "a.txt", overwrite=True)
    assert (tmp_path / "a.txt").read_text() == "a b\\n c\n"
