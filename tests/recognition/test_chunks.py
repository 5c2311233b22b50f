"""Chunks of audio that comes in blocks: those of the whole, without holding the whole."""

from collections.abc import Iterator

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from espnet_wsm.frames import HOP
from espnet_wsm.recognition.chunks import ChunkedRecording
from espnet_wsm.upstream.pieces import Pieces

SIZE, FIELD = 40, 400  # frames, of which 10 on either side are context; samples


def split(samples: np.ndarray, sizes: list[int]) -> Iterator[np.ndarray]:
    """Blocks of these sizes over and over."""
    begin = number = 0
    while begin < len(samples):
        end = begin + sizes[number % len(sizes)]
        yield samples[begin:end]
        begin, number = end, number + 1


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 150 * HOP), st.lists(st.integers(1, 60 * HOP), min_size=1, max_size=4))
def test_chunks_and_what_is_joined_of_them_are_those_of_the_whole(count, sizes):
    samples = np.random.default_rng(count).standard_normal(count).astype(np.float32)
    frames = max(1, (count - FIELD) // HOP + 1)
    plan = Pieces.plan([frames], SIZE, FIELD)
    recording = ChunkedRecording(SIZE, FIELD)
    done, whole = 0, []
    for chunk, expected in zip(
        recording.cut(split(samples, sizes)), plan.cut([torch.from_numpy(samples)]), strict=True
    ):
        assert torch.equal(chunk.samples, expected)
        done += chunk.new
        whole.append(recording.is_whole)
        numbers = torch.arange(max(1, (len(chunk) - FIELD) // HOP + 1), dtype=torch.float32)
        first = plan.starts[0][len(whole) - 1]
        assert chunk.start == first
        recording.put(first, [numbers + first, (numbers + first).unsqueeze(1).repeat(1, 3)])
    assert whole == [False] * (len(whole) - 1) + [True]
    assert done == count == recording.samples
    row, table = recording.take()
    assert torch.equal(row, torch.arange(frames, dtype=torch.float32))
    assert torch.equal(table, row.unsqueeze(1).repeat(1, 3))


def test_a_chunk_is_cut_off_as_soon_as_another_one_is_sure_to_follow():
    asked: list[int] = []

    def blocks() -> Iterator[np.ndarray]:
        for number in range(100):
            asked.append(number)
            yield np.zeros(HOP, np.float32)

    chunks = ChunkedRecording(SIZE, FIELD).cut(blocks())
    for number in range(3):
        next(chunks)
        # its 40 frames and the one that shows that it is not the last, with what they see beyond
        assert len(asked) == 20 * number + SIZE + 1 + 1


@pytest.mark.parametrize("blocks", [[], [np.zeros(0, np.float32)]])
def test_no_samples_are_no_chunks(blocks):
    recording = ChunkedRecording(SIZE, FIELD)
    assert list(recording.cut(blocks)) == [] == recording.take() and recording.is_whole
