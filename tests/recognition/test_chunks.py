"""Chunks of audio that comes in blocks: cut where it is quiet, without holding the whole."""

from collections.abc import Iterator

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from espnet_wsm.data.audio.pauses import WIDTH, find_quietest
from espnet_wsm.frames import HOP, SAMPLE_RATE
from espnet_wsm.recognition import chunks
from espnet_wsm.recognition.chunks import Chunk, ChunkedRecording

SIZE, LONGEST, FIELD = 60, 40, 400  # frames, frames, samples


@pytest.fixture(autouse=True, scope="module")
def short_chunks() -> Iterator[None]:
    before, chunks.LONGEST = chunks.LONGEST, LONGEST
    yield
    chunks.LONGEST = before


def split(samples: np.ndarray, sizes: list[int]) -> Iterator[np.ndarray]:
    """Blocks of these sizes over and over."""
    begin = number = 0
    while begin < len(samples):
        end = begin + sizes[number % len(sizes)]
        yield samples[begin:end]
        begin, number = end, number + 1


def make_frames(chunk: Chunk) -> torch.Tensor:
    """The numbers of a chunk's frames, as many as a model with that field has."""
    return torch.arange(max(1, (len(chunk) - FIELD) // HOP + 1), dtype=torch.float32) + chunk.start


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 250 * HOP), st.lists(st.integers(100, 60 * HOP), min_size=1, max_size=4), st.randoms())
def test_chunks_follow_each_other_and_their_frames_are_those_of_the_recording(count, sizes, random):
    samples = np.random.default_rng(count).standard_normal(count).astype(np.float32)
    recording = ChunkedRecording(SIZE, FIELD)
    whole, parts = [], []
    for chunk in recording.cut(split(samples, sizes)):
        parts.append(chunk)
        whole.append(recording.is_whole)
    assert torch.equal(torch.cat([chunk.samples for chunk in parts]), torch.from_numpy(samples))
    assert whole == [chunk.is_last for chunk in parts] == [False] * (len(parts) - 1) + [True]
    lengths = [len(chunk) for chunk in parts]
    if count < SIZE * HOP + FIELD:  # its frames are SIZE at most
        assert lengths == [count]
    else:
        assert min(lengths) >= LONGEST // 4 * HOP and max(lengths) <= LONGEST * HOP
        assert all(length % HOP == 0 for length in lengths[:-1])
        assert [chunk.start for chunk in parts] == [0, *np.cumsum(lengths[:-1]) // HOP]
    assert recording.joints == [chunk.start - 1 for chunk in parts[1:]] and recording.samples == count
    random.shuffle(parts)  # batches are of chunks of similar length
    for chunk in parts:
        numbers = make_frames(chunk)
        recording.put(chunk, [numbers, numbers.unsqueeze(1).repeat(1, 3)])
    row, table = recording.take()
    expected = torch.arange(max(1, (count - FIELD) // HOP + 1), dtype=torch.float32)
    expected[recording.joints] -= 1  # the frame before counts twice
    assert torch.equal(row, expected) and torch.equal(table, row.unsqueeze(1).repeat(1, 3))


def test_what_is_not_too_long_for_one_pass_is_one_chunk():
    most = SIZE * HOP + FIELD - 1
    assert len(list(ChunkedRecording(SIZE, FIELD).cut([np.ones(most, np.float32)]))) == 1
    assert len(list(ChunkedRecording(SIZE, FIELD).cut([np.ones(most + 1, np.float32)]))) > 1


def test_each_chunk_ends_in_a_pause_if_there_is_one():
    frames = np.ones(400)
    pauses = list(range(30, 400, 30))
    for pause in pauses:
        frames[pause - 5 : pause + 5] = 0.01
    noise = np.random.default_rng(0).standard_normal(400 * HOP).astype(np.float32)
    recording = ChunkedRecording(SIZE, FIELD)
    assert len(list(recording.cut([noise * np.repeat(frames, HOP).astype(np.float32)]))) > 9
    assert all(min(abs(joint + 1 - pause) for pause in pauses) <= 3 for joint in recording.joints)


def test_no_more_is_held_than_goes_through_in_one_pass():
    asked: list[int] = []

    def blocks() -> Iterator[np.ndarray]:
        for number in range(200):
            asked.append(number)
            yield np.ones(HOP, np.float32)

    cut = ChunkedRecording(SIZE, FIELD).cut(blocks())
    next(cut)
    assert len(asked) == SIZE + 1 + 1  # the frame that is too much, and what it sees beyond
    held = [len(asked) - chunk.start for chunk in cut]
    assert max(held) <= SIZE + 2


@pytest.mark.parametrize("blocks", [[], [np.zeros(0, np.float32)]])
def test_no_samples_are_no_chunks(blocks):
    recording = ChunkedRecording(SIZE, FIELD)
    assert list(recording.cut(blocks)) == [] == recording.take() and recording.is_whole


@settings(max_examples=40, deadline=None)
@given(
    st.integers(1, 3 * SAMPLE_RATE),
    st.integers(0, SAMPLE_RATE),
    st.integers(HOP, 2 * SAMPLE_RATE),
    st.integers(0, 9),
)
def test_the_quietest_place_has_the_least_energy_around_it(count, first, span, seed):
    samples = np.random.default_rng(seed).standard_normal(count).astype(np.float32)
    padded = np.pad(samples.astype(np.float64), (WIDTH // 2, 4 * SAMPLE_RATE))
    energies = {
        place: (padded[place : place + WIDTH] ** 2).sum()
        for place in range(-(-first // HOP) * HOP, first + span + 1, HOP)
    }
    assert energies[find_quietest(samples, first, first + span)] == pytest.approx(
        min(energies.values()), abs=1e-6
    )
