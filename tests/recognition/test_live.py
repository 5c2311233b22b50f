"""Speech that is still going on: what is final stays, whatever comes and in whatever pieces."""

from itertools import chain, pairwise
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from spelling import CHARACTERS, Spelling, spell_samples

from espnet_wsm.errors import UserError
from espnet_wsm.frames import HOP
from espnet_wsm.recognition.live import LiveOptions, LiveTranscriber, Update
from espnet_wsm.recognition.words import collapse_path, group_words

BYTES = ["<blank>", "▁a", "<0xC3>", "<0xA9>", "b"]
QUICK = LiveOptions(step=0.1, look_ahead=0.2, context=1.0, pause=0.2)  # 5, 10, 50 and 10 frames


def make_live(tokens=CHARACTERS, token_type="char", options=QUICK, chunk_frames=100) -> LiveTranscriber:
    transcriber = SimpleNamespace(decoder=Spelling(tokens, token_type), chunk_frames=chunk_frames)
    return LiveTranscriber(transcriber, options)


def run(live: LiveTranscriber, ids: list[int], sizes: list[int]) -> list[Update]:
    """The updates when the samples of these frames come in blocks of these sizes, over and over."""
    samples = spell_samples(ids)
    updates, begin, number = [], 0, 0
    while begin < len(samples):
        end = begin + sizes[number % len(sizes)]
        updates.append(live.push(samples[begin:end]))
        begin, number = end, number + 1
    return [update for update in [*updates, live.finish()] if update is not None]


paths = st.lists(
    st.tuples(st.sampled_from([0, 0, 1, 2, 3]), st.integers(1, 20)).map(lambda run: [run[0]] * run[1]),
    max_size=30,
).map(lambda runs: list(chain.from_iterable(runs)))


@settings(max_examples=60, deadline=None)
@given(paths, st.lists(st.integers(100, 150 * HOP), min_size=1, max_size=4))
def test_the_words_are_those_of_the_whole_but_for_long_pauses_within_them(ids, sizes):
    live = make_live()
    updates = run(live, ids, sizes)
    words = [word for update in updates for word in update.words]
    sure = [1 / (1 + token) for token in ids]
    expected = group_words(collapse_path(ids, CHARACTERS, 0), "char", len(ids), sure)
    assert "".join(word.text for word in words) == "".join(word.text for word in expected)
    if not any(len(word.text) > 1 for word in expected):
        assert [word.confidence for word in words] == pytest.approx([word.confidence for word in expected])
    assert all(word.start <= word.end for word in words)
    assert all(one.end <= other.start for one, other in pairwise(words))
    for word, whole in zip(words, expected, strict=False) if len(words) == len(expected) else ():
        assert abs(word.start - whole.start) < 0.13 and abs(word.end - whole.end) < 0.13
    assert updates[-1].begun == updates[-1].tail == "" and updates[-1].heard == pytest.approx(len(ids) * 0.02)
    assert live.decoder.longest <= 100 * HOP


@settings(max_examples=60, deadline=None)
@given(paths, st.lists(st.integers(100, 30 * HOP), min_size=1, max_size=4))
def test_final_text_only_grows(ids, sizes):
    final = ""
    for update in run(make_live(), ids, sizes):
        given_out = "".join(word.text for word in update.words)
        behind = final + given_out[len(given_out) :]
        if given_out:
            assert given_out.startswith(behind) or behind == ""
        if not given_out:
            assert update.begun.startswith(behind)
        final = update.begun


def test_a_word_is_final_once_what_parts_it_from_the_next_has_been_followed_by_the_look_ahead():
    live, heard = make_live(), []
    for frame, token in enumerate([0] * 10 + [1] + [0] * 3 + [2] + [0, 3] + [0] * 4 + [1] + [0] * 40):
        if update := live.push(np.full(HOP, token, np.float32)):
            heard.append((frame + 1, [word.text for word in update.words], update.begun, update.tail))
    # a is in frame 10, b in 14, the space in 16 and the other a in 21; 5 frames are a step, 10 look ahead
    by_frame = {frame: rest for frame, *rest in heard}
    assert by_frame[15] == [[], "", "ab"]
    assert by_frame[20] == [[], "", "ab"]
    assert by_frame[25] == [[], "ab", " a"]  # frames below 15 are final
    assert by_frame[30] == [["ab"], "", "a"]
    assert by_frame[35] == [[], "a", ""]
    assert by_frame[40] == [[], "a", ""]
    assert by_frame[45] == [["a"], "", ""]  # 13 frames without a token


def test_an_utterance_ends_once_where_nothing_is_said_for_the_pause():
    ended = [
        (update.heard, [word.text for word in update.words])
        for update in run(make_live(), [1] + [0] * 100 + [2, 3] + [0] * 4 + [1] + [0] * 60, [HOP])
        if update.ends_utterance
    ]
    assert [words for _, words in ended] == [["a"], ["a"]] and ended[0][0] == pytest.approx(0.5, abs=0.11)


def test_a_character_of_several_bytes_comes_whole():
    updates = run(make_live(BYTES, "bpe"), [1, 0, 2] + [0] * 8 + [3, 4] + [0] * 30, [HOP])
    shown = [update.begun for update in updates]
    assert "a" in shown and not any("\ufffd" in text for text in shown)


def test_audio_that_comes_late_and_all_at_once_is_heard_in_parts():
    live = make_live()
    (update,) = run(live, [1, 3] * 400, [10**9])[:1]
    assert len(update.words) > 350 and live.decoder.longest <= 100 * HOP


def test_options_that_make_no_sense_are_named():
    for options in ({"step": 0.01}, {"look_ahead": -1.0}, {"context": float("nan")}, {"pause": float("inf")}):
        (name,) = options
        with pytest.raises(UserError, match=f"--{name} "):
            LiveOptions(**options)
    with pytest.raises(UserError, match=r"are 11.5 s together, and the model hears 2 s"):
        make_live(options=LiveOptions())


def test_nothing_is_said_of_no_audio():
    update = make_live().finish()
    assert update == Update((), "", "", 0.0, False)
