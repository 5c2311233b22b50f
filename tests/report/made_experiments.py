"""Folders of experiments as stages 2 to 5 leave them, made by hand."""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import soundfile

from espnet_wsm.bin.score import main as score

RATE = 16000
# id -> reference, hypothesis of the first system, of the second one
SPOKEN = {
    "anna-1": ("the cat sat on the mat", "the cat sat on the mat", "the cat sat on mat"),
    "anna-2": ("good morning", "good morning to you", "good morning"),
    "boris-1": ("where is the station", "were is station", "where is the station"),
    "boris-2": ("thank you", "", "thank you"),
}
LOG = (
    "[vm] 2026-01-02 10:00:00,000 (trainer:392) INFO: {epoch}epoch results: [train] iter_time=0.020, "
    "loss_ctc={loss:.3f}, loss={loss:.3f}, optim0_lr0=3.000e-04, time=1 minute and 2.5 seconds, "
    "total_count=3, [valid] loss_ctc={loss:.3f}, cer_ctc={cer:.3f}, loss_att=nan, cer=nan, "
    "loss={loss:.3f}, time=0.5 seconds, total_count=1\n"
)


def write_lines(path: Path, rows: Mapping[str, object]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = (f"{id} {rows[id]}".rstrip() for id in sorted(rows, key=str.encode))
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


def write_dump(
    recipe: Path,
    references: Mapping[str, str],
    name: str = "test",
    seconds: Callable[[int], float] = lambda number: 1.0 + number / 10,
    audio: bool = True,
) -> Path:
    """``dump/raw/NAME`` of a recipe, with audio of noise; speakers are what stands before a hyphen."""
    folder = recipe / "dump" / "raw" / name
    write_lines(folder / "text", references)
    write_lines(folder / "utt2spk", {id: id.split("-")[0] for id in references})
    sizes = {id: int(RATE * seconds(number)) for number, id in enumerate(references)}
    write_lines(folder / "utt2num_samples", sizes)
    files = {id: f"dump/raw/{name}/audio/{number}.flac" for number, id in enumerate(references)}
    write_lines(folder / "wav.scp", files)
    (folder / "audio").mkdir(exist_ok=True)
    generator = np.random.default_rng(0)
    for id, file in files.items() if audio else ():
        soundfile.write(recipe / file, 0.1 * generator.standard_normal(sizes[id]), RATE)
    return folder


def write_experiment(
    recipe: Path,
    name: str,
    hypotheses: Mapping[str, str],
    sets: Sequence[str] = ("test",),
    mixer: str = "wsm",
) -> Path:
    """``exp/asr_NAME`` as training and decoding leave it."""
    exp = recipe / "exp" / f"asr_{name}"
    exp.mkdir(parents=True)
    (exp / "config.yaml").write_text(
        f"encoder_conf:\n  upstream: up\n  mixer: {mixer}\n  num_replaced: 2\n  window: 10\n"
        "non_linguistic_symbols: null\nvalid_data_path_and_name_and_type:\n"
        "- - dump/cache/dev/feats.scp\n  - speech\n  - feature_cache\n"
        "- - dump/raw/dev/text\n  - text\n  - text\n"
    )
    upstream = {"name": "whisper_local", "path": "/somewhere/whisper_base", "description": None}
    parameters = {"trainable": 1000, "total": 4000, "upstream": upstream}
    (exp / "parameters.json").write_text(json.dumps(parameters))
    (exp / "run.json").write_text(json.dumps({"command": "run.sh", "git": "abc1234", "date": "2026-01-02"}))
    log = (LOG.format(epoch=n, loss=100 / n, cer=0.9 / n) for n in (1, 2, 3))
    (exp / "train.log").write_text("".join(log))
    for one in sets:
        write_lines(exp / "decode_greedy" / one / "text", hypotheses)
    return exp


def write_ctm(exp: Path, hypotheses: Mapping[str, str], name: str = "test", sure: float = 0.8) -> None:
    """Words every 0.2 s."""
    lines = (
        f"{id} 1 {0.1 + 0.2 * place:.2f} 0.15 {word} {sure:.3f}\n"
        for id, text in hypotheses.items()
        for place, word in enumerate(text.split())
    )
    (exp / "decode_greedy" / name / "ctm").write_text("".join(lines), encoding="utf-8")


def run_stage_5(recipe: Path, exp: Path, name: str = "test") -> None:
    """score.json of a set."""
    dump, out = recipe / "dump" / "raw" / name, exp / "decode_greedy" / name
    score(["--ref", str(dump / "text"), "--hyp", str(out / "text"), "--utt2spk", str(dump / "utt2spk"),
           "--out", str(out)])  # fmt: skip


def take(spoken: Mapping[str, Sequence[str]], number: int) -> dict[str, str]:
    """References (0), or hypotheses of a system (1, 2)."""
    return {id: texts[number] for id, texts in spoken.items()}
