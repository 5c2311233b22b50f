"""Transcribe utterances whose features below the cut are stored: only the layers above it run."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from torch.nn.utils.rnn import pad_sequence

from espnet_wsm.recognition.greedy import GreedyCtcDecoder, Hypothesis
from espnet_wsm.recognition.transcript import mean_confidence


def load_stored_decoder(exp: Path, model_file: str, cut: Path, device: str = "cpu") -> GreedyCtcDecoder:
    """The decoder of an experiment for features in the folder of a cut; the upstream is not loaded.

    Raises:
        UserError: a file is missing, the model is not of that cut, or it has another kind of input.
    """
    return GreedyCtcDecoder(exp / "config.yaml", exp / model_file, device, cache=cut)


def transcribe_stored(
    decoder: GreedyCtcDecoder,
    features: Mapping[str, np.ndarray],
    batches: Iterable[Sequence[str]],
    on_batch: Callable[[int], object] = lambda _: None,
) -> Iterator[tuple[str, Hypothesis]]:
    """Each id of the batches with its hypothesis.

    Args:
        decoder: of :func:`load_stored_decoder`.
        features: (T, D) float32 by id.
        batches: ids of utterances of similar length.
        on_batch: is told the size of each batch that is done.
    """
    for batch in batches:
        frames = [torch.from_numpy(features[id]) for id in batch]
        lengths = torch.tensor([len(each) for each in frames])
        yield from zip(batch, decoder(pad_sequence(frames, batch_first=True), lengths), strict=True)
        on_batch(len(batch))


def rate_utterance(hypothesis: Hypothesis) -> float:
    """How sure the model is of an utterance: the mean of its words, each as sure as its least sure frame."""
    return mean_confidence(hypothesis.words) or 0.0
