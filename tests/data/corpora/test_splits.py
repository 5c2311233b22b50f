"""Candidates are divided without chance, and written with what was left out."""

import random
from collections.abc import Iterable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from espnet_wsm.data.corpora.splits import (
    Candidate,
    group_by_split,
    require_disjoint_texts,
    split_by_digest,
    write_splits,
)
from espnet_wsm.data.kaldi.directory import Utterance, read_data_dir
from espnet_wsm.errors import UserError

KEYS = "zero one two three four five six seven eight nine".split()


def make_candidates(keys: Iterable[str] = KEYS) -> list[Candidate]:
    return [Candidate(key, f"say {key}", 3.0, speaker="anna", audio=f"{key}.wav") for key in keys]


@given(st.lists(st.text(min_size=1, max_size=3), min_size=1, max_size=60), st.randoms())
def test_the_split_depends_on_nothing_but_the_keys(keys, randomness: random.Random):
    split = split_by_digest(keys)
    assert split.keys() == set(keys)
    assert set(split.values()) <= {"train", "dev", "test"}
    assert split_by_digest(randomness.sample(keys, len(keys))) == split


@given(st.sets(st.text(min_size=1), min_size=20, max_size=120))
def test_dev_and_test_get_a_tenth_each(keys):
    homes = list(split_by_digest(keys).values())
    for name in ("dev", "test"):
        assert abs(homes.count(name) - len(keys) / 10) <= 1


def test_the_split_stays_what_results_were_published_for():
    split = split_by_digest(KEYS)
    assert {name for name, home in split.items() if home != "train"} == {"four", "five"}
    assert split["four"] == "test" and split["five"] == "dev"


@given(st.lists(st.text(st.sampled_from("ab./%-_é"), min_size=1, max_size=5), unique=True))
def test_distinct_keys_give_distinct_ids_without_separators(keys):
    ids = {Candidate(key, speaker="voice").utterance_id for key in keys}
    assert len(ids) == len(keys)
    assert not any("/" in uid.removeprefix("voice-") or not uid.isascii() for uid in ids)


def test_an_id_begins_with_the_speaker():
    assert Candidate("digits/1", speaker="anna").utterance_id == "anna-digits.1"


def test_what_has_a_reason_is_in_no_split():
    candidates = [*make_candidates(), Candidate("beep", reason="no words")]
    split = split_by_digest(KEYS)
    splits = group_by_split(candidates, lambda each: split[each.key], Path("bells"))
    assert {name: len(used) for name, used in splits.items()} == {"train": 8, "dev": 1, "test": 1}


def test_too_few_to_split_are_refused():
    with pytest.raises(UserError, match="bells: 2 usable recordings are too few to split; unpack"):
        group_by_split(make_candidates(["a", "b"]), lambda each: "test", Path("bells"))


def test_a_text_in_two_splits_is_refused(tmp_path):
    one, two = (Candidate(key, "thank you", 1.0, "", "s", f"{key}.wav") for key in ("1", "2"))
    require_disjoint_texts({"train": [one, two], "test": []})
    with pytest.raises(RuntimeError, match="'thank you' is in train and in test"):
        write_splits(tmp_path, "x", {"train": [one], "test": [two]}, [one, two])
    assert not list(tmp_path.iterdir())


def test_splits_are_written_with_what_was_dropped(tmp_path):
    used = make_candidates()
    reasons = {"z": "silence", "b": "no text", "a": "silence"}
    dropped = [Candidate(key, reason=reason) for key, reason in reasons.items()]
    splits = {"train": used[2:], "dev": used[1:2], "test": used[:1]}
    summary = write_splits(tmp_path, "bells", splits, [*used, *dropped])
    assert read_data_dir(tmp_path / "test") == [Utterance("anna-zero", "zero.wav", "say zero", "anna")]
    assert len(read_data_dir(tmp_path / "train")) == 8
    assert (tmp_path / "dropped.txt").read_text() == "a silence\nb no text\nz silence\n"
    assert summary == [
        "bells train: 8 utterances, 0.4 minutes, 16 words",
        "bells dev: 1 utterances, 0.1 minutes, 2 words",
        "bells test: 1 utterances, 0.1 minutes, 2 words",
        f"bells: 10 used, 3 dropped (2 silence, 1 no text), see {tmp_path / 'dropped.txt'}",
    ]


def test_with_nothing_dropped_the_list_is_empty(tmp_path):
    used = make_candidates()
    summary = write_splits(tmp_path, "bells", {"train": used[2:], "dev": used[1:2], "test": used[:1]}, used)
    assert summary[-1] == f"bells: 10 used, 0 dropped, see {tmp_path / 'dropped.txt'}"
    assert (tmp_path / "dropped.txt").read_text() == ""
