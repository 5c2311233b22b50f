"""Common Voice's spontaneous speech, as it is unpacked."""

from pathlib import Path

import pytest
from field_recordings import write_noise

from espnet_wsm.data.corpora.annotation_rules import AnnotationRules
from espnet_wsm.data.corpora.sources import list_source

HEAD = (
    "client_id\taudio_id\taudio_file\tduration_ms\tprompt_id\tprompt\ttranscription\tvotes\tlanguage\tsplit"
)


@pytest.fixture
def release(tmp_path):
    """``release(splits)`` writes a release with a clip for each split; gives its folder."""

    def write(splits: list[str]) -> Path:
        folder = tmp_path / "sps-corpus-5.0-2026-09-11-sn"
        lines = [HEAD]
        for number, split in enumerate(splits):
            name = f"spontaneous-speech-sn-{number}.mp3"
            text = "" if split == "untranscribed" else f"mhoro [um] {number}"
            split = "unassigned" if split == "untranscribed" else split
            lines.append(f"c{number}\t{number}\t{name}\t1000\t1\tWhat?\t{text}\t2\tShona\t{split}")
            write_noise(folder / "audios" / name, 1)
        (folder / "ss-corpus-sn.tsv").write_text("\n".join(lines) + "\n")
        (folder / "ss-reported-audios-sn.tsv").write_text("client_id\taudio_file\n")
        return folder

    return write


@pytest.mark.parametrize("by_file", [True, False])
def test_validated_transcripts_are_used_in_their_sets(release, by_file):
    folder = release(["train", "dev", "test", "unassigned", "untranscribed"])
    listing = list_source(folder / "ss-corpus-sn.tsv" if by_file else folder)
    assert [(row.text, row.split, row.speaker) for row in listing.rows] == [
        ("mhoro 0", "train", "c0"), ("mhoro 1", "dev", "c1"), ("mhoro 2", "test", "c2"),
    ]  # fmt: skip
    assert all((row.folder / row.path).is_file() for row in listing.rows)
    assert [reason for _, reason in listing.dropped] == ["transcript not validated"] * 2
    assert "notes in brackets are removed from 4 utterances" in listing.said[0]


def test_where_none_is_validated_all_are_used(release):
    listing = list_source(release(["unassigned"] * 3), rules=AnnotationRules(notes="keep"))
    assert [(row.text, row.split) for row in listing.rows] == [(f"mhoro [um] {n}", "") for n in range(3)]
    assert listing.said == ["no transcript of this release is validated: all are used"]


def test_utterances_with_notes_can_be_left_out(release):
    listing = list_source(release(["train", "untranscribed"]), rules=AnnotationRules(notes="leave_out"))
    assert not listing.rows and listing.dropped[0][1] == "has a note in brackets"
