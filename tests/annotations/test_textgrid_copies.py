"""A copy of a TextGrid with tiers more is the original with another count, and the new tiers behind it."""

import pytest
from drawn_annotations import TEXTS, draw_tiers
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from praatio import textgrid as praatio
from test_textgrid import EXAMPLE, LONG, SHORT

from espnet_wsm.annotations import Recording, Segment, Tier, Word
from espnet_wsm.annotations.textgrid import list_layers, read, write
from espnet_wsm.annotations.textgrid_copies import add_tiers
from espnet_wsm.errors import UserError

ADDED = Tier("asr", (Segment(0.123, 1.001, 'ndi "na"', words=(Word(0.2, 0.5, "ndi"),)), Segment(2, 2.2, "é")))
FORMS = {
    "long": LONG.encode(),
    "short": SHORT.encode(),
    "lines of Windows": LONG.replace("\n", "\r\n").encode(),
    "without a last line break": SHORT.rstrip("\n").encode(),
    "a mark": b"\xef\xbb\xbf" + SHORT.encode(),
    "utf-16": LONG.encode("utf-16"),
    "utf-16-be": b"\xfe\xff" + SHORT.encode("utf-16-be"),
}


def split(content: bytes) -> tuple[str, str]:
    """What is before and behind the number of tiers, which is 2 or 4, of the copy and the original."""
    encoding = "utf-16" if content[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8"
    text = content.decode(encoding)
    place = text.index("<exists>") + len("<exists>")
    place += next(number for number, char in enumerate(text[place:]) if char.isdigit())
    assert text[place] in "24"
    return text[:place], text[place + 1 :]


@pytest.mark.parametrize("form", FORMS)
def test_all_but_the_new_tiers_stays_as_it_is(form, tmp_path):
    source, out = tmp_path / "a.TextGrid", tmp_path / "b.TextGrid"
    source.write_bytes(FORMS[form])
    source.chmod(0o444)
    add_tiers(source, out, [ADDED])
    assert source.read_bytes() == FORMS[form]
    (head, rest), (new_head, new_rest) = split(FORMS[form]), split(out.read_bytes())
    assert new_head == head and new_rest.startswith(rest)
    assert out.read_bytes()[:2] == FORMS[form][:2]
    added = new_rest.removeprefix(rest)
    assert ("item [3]:" in added and "item [4]:" in added) == ("item [1]:" in rest)
    if form == "lines of Windows":
        assert added.count("\n") == added.count("\r\n") > 0
    assert read(out).tiers == (*read(source).tiers, ADDED)


@pytest.mark.parametrize("short", [False, True])
def test_the_copy_is_read_by_praatio(short, tmp_path):
    tiers = (Tier("anna", (Segment(0.25, 1.5, 'she said "yes"'),)), Tier("clicks", (Segment(1, 1, "x"),)))
    write(Recording(tiers=tiers, duration=2.5), tmp_path / "a.TextGrid", short=short)
    add_tiers(tmp_path / "a.TextGrid", tmp_path / "b.TextGrid", [ADDED])
    old, new = (
        praatio.openTextgrid(
            str(tmp_path / f"{name}.TextGrid"), includeEmptyIntervals=True, reportingMode="error"
        )
        for name in "ab"
    )
    assert new.tierNames == (*old.tierNames, "asr", "asr - words") and new.maxTimestamp == 2.5
    for name in old.tierNames:
        assert new.getTier(name) == old.getTier(name)
    assert [tuple(entry) for entry in new.getTier("asr").entries] == [
        (0, 0.123, ""), (0.123, 1.001, 'ndi "na"'), (1.001, 2, ""), (2, 2.2, "é"), (2.2, 2.5, ""),
    ]  # fmt: skip


def test_the_end_stays_as_it_is_written(tmp_path):
    (tmp_path / "a.TextGrid").write_text(SHORT.replace("2.5", "2.50000000013"))
    add_tiers(tmp_path / "a.TextGrid", tmp_path / "b.TextGrid", [ADDED, Tier("nothing")])
    added = (tmp_path / "b.TextGrid").read_text().removeprefix(SHORT)
    assert added.count("\n2.50000000013\n") == (tmp_path / "b.TextGrid").read_text().count("\n2.5")
    assert read(tmp_path / "b.TextGrid").tiers[-2:] == (ADDED, Tier("nothing"))


@pytest.mark.parametrize(
    ("content", "tier", "message"),
    [
        (
            LONG.replace("xmin = 0\n", "xmin = 0.5\n", 1),
            ADDED,
            "times begin at 0.5 s, and not with the audio",
        ),
        (SHORT, Tier("asr", (Segment(1, 2.6, "x"),)), "tier asr ends after the file does, at 2.5 s"),
        (SHORT, Tier("A", ()), "two tiers would be named A: rename one"),
        (SHORT.split("<exists>")[0] + "<absent>\n", ADDED, "it has no tiers: add one in Praat"),
    ],
)
def test_what_cannot_be_added_is_named(content, tier, message, tmp_path):
    (tmp_path / "a.TextGrid").write_text(content)
    with pytest.raises(UserError, match=message):
        add_tiers(tmp_path / "a.TextGrid", tmp_path / "b.TextGrid", [tier])
    assert not (tmp_path / "b.TextGrid").exists()


def test_nothing_is_written_where_it_must_not(tmp_path):
    source, out = tmp_path / "a.TextGrid", tmp_path / "b.TextGrid"
    source.write_text(LONG.replace('"c"', '"ç"'), encoding="cp1252")
    with pytest.raises(UserError, match="is the file that is copied"):
        add_tiers(source, source, [ADDED], overwrite=True)
    with pytest.raises(UserError, match=r"is in cp1252, which cannot hold 'ŋ': save it in Praat as UTF-8"):
        add_tiers(source, out, [Tier("asr", (Segment(0, 1, "ŋ"),))], encoding="cp1252")
    assert not out.exists()
    add_tiers(source, out, [ADDED], encoding="cp1252")
    assert read(out, encoding="cp1252").tiers[-1] == ADDED
    with pytest.raises(UserError, match=r"b\.TextGrid is there already"):
        add_tiers(source, out, [ADDED], encoding="cp1252")
    source.write_bytes(LONG.encode("utf-7").replace(b"c", b"+AGM-"))
    with pytest.raises(UserError, match="would not stay as it is in utf-7"):
        add_tiers(source, out, [ADDED], encoding="utf-7", overwrite=True)


@pytest.mark.parametrize("short", [False, True])
def test_any_tiers_come_back_from_a_copy(short, tmp_path):
    source, out = tmp_path / "a.TextGrid", tmp_path / "b.TextGrid"

    # A TextGrid shows no empty texts: they are what is between the others.
    texts, names = TEXTS.filter(bool), st.sampled_from(("Ö & <o>", 'say "a"', "نص", "a  b", "1"))

    @settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
    @given(draw_tiers(texts, words=True, names=names), st.sampled_from(["utf-8", "utf-16"]))
    def check(tiers, encoding):
        write(
            Recording(tiers=EXAMPLE.tiers, duration=20.5),
            source,
            short=short,
            encoding=encoding,
            overwrite=True,
        )
        add_tiers(source, out, tiers, overwrite=True)
        assert read(out).tiers == (*EXAMPLE.tiers, *tiers)
        text, copy = (path.read_bytes().decode(encoding) for path in (source, out))
        rows, new_rows = text.splitlines(keepends=True), copy.splitlines(keepends=True)
        changed = [place for place, row in enumerate(rows) if row != new_rows[place]]
        count = len(list(list_layers(EXAMPLE.tiers)))
        assert [rows[place] for place in changed] == [f"{count}\n" if short else f"size = {count} \n"]

    check()
