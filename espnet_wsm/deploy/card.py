"""The README of an exported model: what it is, and the commands that run it."""

from pathlib import Path

from espnet_wsm.deploy.names import INT8, LICENCE, MODEL, SHERPA
from espnet_wsm.upstream import Checkpoint

RUN_PLAIN = """\
```python
import numpy as np
import onnxruntime
import soundfile  # 16 kHz, one channel

session = onnxruntime.InferenceSession("model.onnx")
lines = open("tokens.txt", encoding="utf-8").read().split("\\n")[:-1]
tokens = [line.rsplit(" ", 1)[0].replace("<space>", " ").replace("\\u2581", " ") for line in lines]
samples, _ = soundfile.read("recording.wav", dtype="float32")
(log_probs,) = session.run(None, {"samples": samples[None]})
best = log_probs[0].argmax(-1)  # of each frame of 20 ms; 0 is CTC's blank
kept = best[(best != 0) & (np.diff(best, prepend=-1) != 0)]
print("".join(tokens[token] for token in kept).strip())
```"""

RUN_SHERPA = """\
```python
import sherpa_onnx
import soundfile

recogniser = sherpa_onnx.OfflineRecognizer.from_omnilingual_asr_ctc("model.onnx", "tokens.txt", num_threads=2)
samples, rate = soundfile.read("recording.wav", dtype="float32")
stream = recogniser.create_stream()
stream.accept_waveform(rate, samples)
recogniser.decode_stream(stream)
print(stream.result.text.strip())
```

The slot for Omnilingual ASR is the one that takes waveforms."""


def describe(
    name: str,
    upstream: Checkpoint,
    model_digest: str,
    target: str,
    digests: dict[str, str],
    most_seconds: float | None,
) -> list[str]:
    """The lines of the README.

    Args:
        name: of the model.
        upstream: that it was trained on.
        model_digest: SHA-256 of its checkpoint.
        target: one of ``espnet_wsm.deploy.names.TARGETS``.
        digests: SHA-256 of each file, by name.
        most_seconds: the longest recording; None for any.
    """
    longest = "any length from 25 ms on" if most_seconds is None else f"25 ms to {most_seconds:g} s"
    lines = [
        f"# {name}, a speech recogniser as ONNX",
        "",
        "- Input `samples`: float32 (1, N), one recording at 16 kHz, samples between -1 and 1, "
        f"{longest}. Nothing has to be normalised.",
        "- Output `log_probs`: float32 (1, T, V), one frame every 20 ms; token 0 is CTC's blank.",
        "- `tokens.txt`: `SYMBOL ID` a line.",
        f"- Upstream: {upstream.name}, digest `{upstream.digest}`. Checkpoint: SHA-256 `{model_digest}`.",
        _describe_licence(LICENCE in digests),
        "",
        "Long recordings have to be cut at pauses, by a voice activity detector for instance.",
        "",
        "## Use",
        "",
        RUN_SHERPA if target == SHERPA else RUN_PLAIN,
        "",
    ]
    if INT8 in digests:
        lines += [f"`{INT8}` goes in the place of `{MODEL}`: smaller, and close to it.", ""]
    lines += ["## Files", "", "| File | SHA-256 |", "| --- | --- |"]
    lines += [f"| {file} | `{digest}` |" for file, digest in digests.items()]
    return lines


def _describe_licence(known: bool) -> str:
    if known:
        return "- Licence of the upstream's weights, which are part of the model: LICENSE."
    return "- The upstream's weights are part of the model: their licence holds for it."


def find_licence(upstream: Checkpoint) -> Path | None:
    """The licence that lies beside an upstream's weights; None if there is none."""
    file = upstream.files[0].parent / LICENCE
    return file if file.is_file() else None
