"""Recordings of noise with annotations, as field workers have them."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import soundfile

from espnet_wsm.annotations import Recording, Segment, Tier, Word, write_annotations

RATE = 8000


def write_noise(path: Path, seconds: float, seed: int = 0) -> Path:
    """A mono file of noise."""
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = 0.1 * np.random.default_rng(seed).standard_normal(round(seconds * RATE))
    soundfile.write(path, noise, RATE)
    return path


def make_tier(name: str, *spans: tuple, speaker: str | None = None) -> Tier:
    """A tier of ``(start, end, text)``, with words in the times of a fourth element."""
    segments = []
    for start, end, text, *times in spans:
        words = [
            Word(*pair, word) for pair, word in zip(times[0], text.split(), strict=True)
        ] if times else []  # fmt: skip
        segments.append(Segment(start, end, text, words=tuple(words)))
    return Tier(name, tuple(segments), speaker=speaker)


def write_recording(
    path: Path,
    tiers: Iterable[Tier],
    seconds: float = 10.0,
    audio: str | None = "",
    format: str | None = None,
) -> Path:
    """Annotations and, unless ``audio`` is None, the recording beside them; ``audio`` names it otherwise."""
    path.parent.mkdir(parents=True, exist_ok=True)
    stored = None
    if audio is not None:
        stored = audio or f"{path.stem}.wav"
        write_noise(path.parent / Path(stored).name, seconds)
    options = {"rules": None} if path.suffix in (".srt", ".vtt") else {}
    write_annotations(Recording(stored, tuple(tiers), duration=seconds), path, format, **options)
    return path
