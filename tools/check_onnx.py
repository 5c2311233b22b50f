#!/usr/bin/env python3
"""What an exported model gives on a test set, beside PyTorch: texts, character error rates, speed, memory.

.venv/bin/python tools/check_onnx.py --model egs/asterisk/asr1/exp/it/asr_X --onnx phone \\
    --data egs/asterisk/asr1/dump/it/raw/test

Each way of running the model has a process of its own and decodes one utterance after the other, on
--threads threads: PyTorch in float32 and bfloat16, onnxruntime with model.onnx and model.int8.onnx, and
sherpa-onnx where tokens.txt is written for it. The times are those of the second of two passes over the
utterances, loading not included; the memory is the largest size of the process. Differences of error rates
are those to PyTorch's float32, with intervals of a paired bootstrap over utterances.
"""

import argparse
import json
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import soundfile

from espnet_wsm.data.dump.lists import find_recordings
from espnet_wsm.deploy.names import INT8, MODEL, TOKENS
from espnet_wsm.errors import UserError, report_user_errors
from espnet_wsm.frames import SAMPLE_RATE

Recognise = Callable[[np.ndarray], str]


def read_set(data: Path) -> dict[str, tuple[np.ndarray, str]]:
    """Samples (N,) and text of each utterance of a dumped set."""
    return {
        id: (soundfile.read(file, dtype="float32")[0], text)
        for id, (file, text) in find_recordings(data).items()
    }


def open_pytorch(args: argparse.Namespace, dtype: str) -> Recognise:
    """Through the decoder of stage 4."""
    import torch

    from espnet_wsm.recognition.trained_model import load_decoder

    torch.set_num_threads(args.threads)
    decoder = load_decoder(args.model, device="cpu", dtype=dtype)

    def recognise(samples: np.ndarray) -> str:
        ids, scores, _ = decoder.best_frames(torch.from_numpy(samples)[None], torch.tensor([len(samples)]))
        return decoder.hypothesis(ids[0], scores[0]).text

    return recognise


def open_onnxruntime(args: argparse.Namespace, name: str) -> Recognise:
    """As the README beside the model says."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = args.threads
    session = onnxruntime.InferenceSession(args.onnx / name, options)
    lines = (args.onnx / TOKENS).read_text(encoding="utf-8").split("\n")[:-1]
    tokens = [line.rsplit(" ", 1)[0].replace("<space>", " ").replace("\u2581", " ") for line in lines]

    def recognise(samples: np.ndarray) -> str:
        (log_probs,) = session.run(None, {"samples": samples[None]})
        best = log_probs[0].argmax(-1)
        return "".join(tokens[token] for token in best[(best != 0) & (np.diff(best, prepend=-1) != 0)])

    return recognise


def open_sherpa(args: argparse.Namespace, name: str) -> Recognise:
    """Through the slot for Omnilingual ASR."""
    import sherpa_onnx

    recogniser = sherpa_onnx.OfflineRecognizer.from_omnilingual_asr_ctc(
        str(args.onnx / name), str(args.onnx / TOKENS), num_threads=args.threads
    )

    def recognise(samples: np.ndarray) -> str:
        stream = recogniser.create_stream()
        stream.accept_waveform(SAMPLE_RATE, samples)
        recogniser.decode_stream(stream)
        return stream.result.text

    return recognise


def list_ways(onnx: Path) -> dict[str, tuple[Callable, str]]:
    """The ways to run a model, with what opens it."""
    ways = {"PyTorch float32": (open_pytorch, "float32"), "PyTorch bfloat16": (open_pytorch, "bfloat16")}
    names = {"float32": MODEL, "int8": INT8}
    there = {kind: name for kind, name in names.items() if (onnx / name).exists()}
    ways |= {f"onnxruntime {kind}": (open_onnxruntime, name) for kind, name in there.items()}
    if (onnx / TOKENS).read_text(encoding="utf-8").startswith("<blk> "):
        ways |= {f"sherpa-onnx {kind}": (open_sherpa, name) for kind, name in there.items()}
    return ways


def run_way(args: argparse.Namespace) -> None:
    """Decode all utterances twice and print what came out as JSON."""
    given = read_set(args.data)
    opener, name = list_ways(args.onnx)[args.way]
    recognise = opener(args, name)
    for _ in range(2):
        begun = time.perf_counter()
        texts = {key: " ".join(recognise(samples).split()) for key, (samples, _) in given.items()}
        taken = time.perf_counter() - begun
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"texts": texts, "seconds": taken, "mebibytes": memory}))


@report_user_errors
def main() -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", required=True, help="the experiment that was exported")
    parser.add_argument("--onnx", type=Path, required=True, help="the folder that export_onnx wrote")
    parser.add_argument("--data", type=Path, required=True, help="wav.scp and text, as in dump/raw/test")
    parser.add_argument("--threads", type=int, default=2, help="of each way (default: 2)")
    parser.add_argument("--way", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.way is not None:
        run_way(args)
        return

    from espnet_wsm.scoring.python_scorer import score_lines
    from espnet_wsm.scoring.significance import compare_paired
    from espnet_wsm.tables import render_table

    given = read_set(args.data)
    seconds = sum(len(samples) for samples, _ in given.values()) / SAMPLE_RATE
    rows, base = [], None
    for way in list_ways(args.onnx):
        done = subprocess.run([sys.executable, *sys.argv, "--way", way], stdout=subprocess.PIPE, text=True)
        if done.returncode != 0:
            raise UserError(f"{way} ended with {done.returncode}; its message is above")
        found = json.loads(done.stdout.splitlines()[-1])
        counts = score_lines((text, found["texts"][key]) for key, (_, text) in given.items())
        errors, units = [each.errors for each in counts], [each.words for each in counts]
        base = base or (errors, found["texts"])
        compared = compare_paired(errors, base[0], units)
        gap = compared.difference
        rows.append(
            [
                way,
                f"{found['seconds'] / seconds:.4f}",
                f"{found['mebibytes']:.0f}",
                str(sum(found["texts"][key] != base[1][key] for key in given)),
                f"{compared.rate_a.estimate:.2f}",
                f"{gap.estimate:+.2f} [{gap.low:+.2f}, {gap.high:+.2f}]",
            ]
        )
    heads = ["way", "real-time factor", "MiB", "other texts", "CER %", "CER - PyTorch float32"]
    print(f"{len(given)} utterances, {seconds / 60:.1f} min, {args.threads} threads")
    print(render_table(heads, rows))


if __name__ == "__main__":
    main()
