"""Which utterances a model transcribes for the next one, and which of its texts are kept."""

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile

from espnet_wsm.data.dump.lists import read_dump, read_num_samples, write_dump_lists
from espnet_wsm.data.dump.pseudo_labels import (
    Said,
    plan_pool,
    read_pool,
    read_said,
    select_labels,
    write_said,
)
from espnet_wsm.data.kaldi.directory import Utterance
from espnet_wsm.data.text.tokens import Tokenizer
from espnet_wsm.errors import UserError

SAMPLES = 3200  # 9 frames


def write_set(folder: Path, sounds: dict[str, int], text: str = "") -> Path:
    """A set of the dump with noises that are numbered."""
    folder.mkdir()
    utterances = [Utterance(id, folder / f"{id}.flac", text, "s") for id in sounds]
    for each in utterances:
        noise = 0.1 * np.random.default_rng(sounds[each.id]).standard_normal(SAMPLES)
        soundfile.write(each.audio, noise, 16000)
    write_dump_lists(folder, utterances, dict.fromkeys(sounds, SAMPLES))
    return folder


@pytest.fixture
def tokenizer(tmp_path) -> Tokenizer:
    tokens = tmp_path / "tokens"
    tokens.mkdir()
    (tokens / "tokens.txt").write_text("<blank>\n<unk>\n<space>\na\nb\n<sos/eos>\n")
    return Tokenizer(tokens, "char")


def test_neither_transcribed_speech_nor_that_to_measure_on_is_taken(tmp_path):
    speech = write_set(tmp_path / "train", {"a": 1, "b": 2, "c": 3, "d": 4}, "ab")
    known = write_set(tmp_path / "part", {"b": 2}, "ab")
    sets = [write_set(tmp_path / "dev", {"v": 9}, "a"), write_set(tmp_path / "test", {"t": 3}, "a")]
    told = plan_pool(tmp_path / "labels", speech, sets, known)
    assert read_pool(tmp_path / "labels") == {"a": SAMPLES, "d": SAMPLES}
    assert told == (
        "train: 2 utterances to transcribe, 0.00 h; 1 left out, whose audio is in a set to measure on"
    )
    with pytest.raises(UserError, match="holds no speech beside"):
        plan_pool(tmp_path / "labels", speech, sets, speech)


TEXTS = {
    "e": Said("", 0.0),
    "long": Said("a" * 5, 0.9),  # 9 frames with the blanks between
    "longer": Said("ab" * 5, 0.9),
    "unknown": Said("a <unk>", 0.9),
    "k1": Said("a b", 0.5),
    "k2": Said("ba", 0.25),
    "k3": Said("b", 0.75),
}


@pytest.fixture
def labels(tmp_path) -> tuple[Path, Path]:
    """The folder of the labels, with its pool, and the speech."""
    speech = write_set(tmp_path / "speech", {id: n for n, id in enumerate(TEXTS)}, "no text of ours")
    out = tmp_path / "labels"
    plan_pool(out, speech, [], write_set(tmp_path / "known", {"x": 99}, "a"))
    return out, speech


def test_empty_unfit_and_unsure_texts_are_left_out_and_counted(labels, tokenizer):
    out, speech = labels
    summary = select_labels(out, speech, TEXTS, tokenizer, leave_out=0.25)
    utterances, num_samples = read_dump(out, need_text=True)
    assert {each.id: each.text for each in utterances} == {"k1": "a b", "k3": "b", "long": "aaaaa"}
    assert {each.speaker for each in utterances} == {"s"} and set(num_samples.values()) == {SAMPLES}
    assert read_num_samples(out / "speech_shape", []) == num_samples
    dropped = dict(line.split(" ", 1) for line in (out / "dropped").read_text().splitlines())
    assert dropped == {
        "e": "empty 0.000000",
        "longer": "unfit 0.900000",
        "unknown": "unfit 0.900000",
        "k2": "unsure 0.250000",
    }
    assert (out / "utt2confidence").read_text() == "k1 0.500000\nk3 0.750000\nlong 0.900000\n"
    assert json.loads((out / "labels.json").read_text()) == vars(summary)
    assert str(summary) == (
        "7 utterances transcribed: 1 empty, 2 with a text that cannot be trained on, 1 of least confidence "
        "left out; kept 3, 0.00 h, of confidence 0.500 and more"
    )


@pytest.mark.parametrize(("share", "kept"), [(0.0, 4), (0.24, 4), (0.5, 2), (0.99, 1)])
def test_the_share_left_out_is_of_the_utterances_with_a_text(labels, tokenizer, share, kept):
    assert select_labels(*labels, TEXTS, tokenizer, leave_out=share).kept == kept


def test_among_equals_the_choice_is_always_the_same(labels, tokenizer):
    alike = {id: Said("a", 0.5) for id in TEXTS}
    first = select_labels(*labels, alike, tokenizer, leave_out=0.5)
    ids = (labels[0] / "utt2confidence").read_text()
    backwards = dict(reversed(alike.items()))
    assert select_labels(*labels, backwards, tokenizer, leave_out=0.5) == first and first.kept == 4
    assert (labels[0] / "utt2confidence").read_text() == ids


def test_what_was_not_transcribed_and_what_leaves_nothing_is_refused(labels, tokenizer):
    with pytest.raises(UserError, match="1 utterance not transcribed once, e is one"):
        select_labels(*labels, {id: TEXTS[id] for id in TEXTS if id != "e"}, tokenizer, leave_out=0.25)
    with pytest.raises(UserError, match="of 7 utterances none has a text to learn from"):
        select_labels(*labels, dict.fromkeys(TEXTS, Said("", 0.0)), tokenizer, leave_out=0.0)
    assert not (labels[0] / "text").exists()


def test_what_jobs_write_is_what_is_read(tmp_path):
    write_said(tmp_path / "said.1", TEXTS)
    assert read_said(tmp_path / "said.1") == TEXTS
    write_said(tmp_path / "said.2", {})
    assert read_said(tmp_path / "said.2") == {}
    with pytest.raises(UserError, match=r"said\.3 does not exist: its job failed"):
        read_said(tmp_path / "said.3")
