"""Windowed SummaryMixing for ESPnet: fine-tune the last layers of an S3PRL upstream in linear time."""

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from espnet_wsm.recognition.transcriber import Transcriber

__version__ = "0.1.0"


def load(
    model: Path | str,
    upstream: Path | str | None = None,
    device: str | None = None,
    *,
    model_file: Path | str | None = None,
    chunk_seconds: float = 30.0,
    batch_size: int = 4,
    trust: bool = False,
    dtype: str = "auto",
) -> "Transcriber":
    """A trained model, ready to transcribe: ``load("exp/asr_X")(waveform, sample_rate)`` is the text.

    Args:
        model: experiment folder as stage 3 leaves it, or an archive written by ``espnet2.bin.pack asr``.
        upstream: the upstream's checkpoint. None: the one that training read. It is looked for in the
            archive; then, if the configuration has a relative path, in the folder of the experiment (or of
            the archive), in the folders above it, and in the working directory.
        device: torch device; None uses a GPU if there is one.
        model_file: checkpoint, in the experiment's folder or anywhere. None: in a folder, the average of the
            best epochs by the first ``best_model_criterion`` on validation data; in an archive, the packed
            checkpoint.
        chunk_seconds: longer audio is cut at pauses, into chunks of 5 to 10 s.
        batch_size: number of chunks in a batch, or as much audio in shorter ones.
        trust: open an upstream's file even if that runs code from it, whatever the training's setting.
        dtype: precision of the encoder: ``float32``, ``bfloat16``, ``float16``; ``auto``, bfloat16 where the
            processor is made for it, else float32; ``trained``, as the training's configuration has it.

    Raises:
        UserError: a part of the model is missing, or its parts do not fit together; says which and what to
            do.
    """
    from espnet_wsm.recognition.transcriber import Transcriber  # imports torch and ESPnet

    return Transcriber(
        model,
        upstream=upstream,
        device=device,
        model_file=model_file,
        chunk_seconds=chunk_seconds,
        batch_size=batch_size,
        trust=trust,
        dtype=dtype,
    )
