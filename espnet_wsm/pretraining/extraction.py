"""Features of all utterances of a dump folder, in batches of similar length."""

from collections.abc import Iterator
from pathlib import Path

import torch
from torch import nn
from tqdm import tqdm

from espnet_wsm.data.audio.recordings import read_recording
from espnet_wsm.data.dump.batches import make_batches
from espnet_wsm.data.dump.lists import read_dump
from espnet_wsm.data.kaldi.directory import Utterance
from espnet_wsm.errors import UserError
from espnet_wsm.frames import RECEPTIVE_FIELD, SAMPLE_RATE, count_encoder_frames
from espnet_wsm.pretraining.features import Extractor

# Audio in one batch of the extractor: as much as fits into a CPU's caches.
BATCH_SAMPLES = 15 * SAMPLE_RATE


def count_frames(num_samples: int) -> int:
    """Number of frames of an utterance; a shorter one is zero-padded to one frame, as in training."""
    return max(1, count_encoder_frames(num_samples))


def extract_dump(directory: Path, extract: Extractor) -> Iterator[tuple[Utterance, torch.Tensor]]:
    """Yield each utterance with its features (T, ...), the shortest first; shows a progress bar.

    Raises:
        UserError: the audio does not match the lists.
    """
    utterances, num_samples = read_dump(directory)
    utterances.sort(key=lambda each: (num_samples[each.id], each.id))
    with tqdm(
        total=len(utterances), desc=f"features {directory.name}", unit="utt", mininterval=1
    ) as progress:
        for batch in make_batches(utterances, lambda each: num_samples[each.id], BATCH_SAMPLES):
            waves = [torch.from_numpy(read_recording(each.audio).samples[:, 0]) for each in batch]
            padded = [nn.functional.pad(wave, (0, max(0, RECEPTIVE_FIELD - len(wave)))) for wave in waves]
            for utterance, wave, frames in zip(batch, waves, extract(padded), strict=True):
                expected = count_frames(num_samples[utterance.id])
                if len(frames) != expected or len(wave) != num_samples[utterance.id]:
                    raise UserError(
                        f"{utterance.audio} (id {utterance.id}): {len(frames)} frames of {len(wave)} "
                        f"samples, expected {expected} of {num_samples[utterance.id]}: make the dump again"
                    )
                yield utterance, frames
            progress.update(len(batch))
