"""A folder of .eaf with two speakers who overlap, from preview to the dump."""

import re
import shlex
from pathlib import Path

import numpy as np
import pytest
import soundfile

from espnet_wsm.annotations import Recording, Segment, Tier, write_annotations

TEXTS = ("dobrý den", "[smích] děkuji", "na shledanou", "kolik to stojí")
RATE = 16000


@pytest.fixture(scope="module")
def field(speak, tmp_path_factory) -> Path:
    """Four recordings of two people, who overlap once; their .eaf name files of another machine."""
    folder = tmp_path_factory.mktemp("field")
    (folder / "audio").mkdir()
    spoken = {}
    for speaker, pitch in (("Anna", 80), ("Boris", 20)):
        for text in TEXTS:
            words = re.sub(r"\[.*?\] *", "", text)
            speak(folder / "part.wav", words, "cs", RATE, pitch)
            spoken[speaker, text] = soundfile.read(folder / "part.wav")[0]
    (folder / "part.wav").unlink()
    for number in range(4):
        sound, begin = np.zeros(30 * RATE), 0
        segments: dict[str, list[Segment]] = {"Anna": [], "Boris": []}
        for turn in range(8):
            speaker, text = ("Anna", "Boris")[turn % 2], TEXTS[(number + turn // 2) % 4]
            part = spoken[speaker, text]
            sound[begin : begin + len(part)] += part / 2
            start, end = begin / RATE, (begin + len(part)) / RATE
            segments[speaker].append(Segment(round(start, 3), round(end, 3), text))
            begin += len(part) - (RATE // 3 if turn == 3 else -RATE // 5)
        soundfile.write(folder / f"audio/story{number}.flac", sound[:begin], RATE)
        tiers = [
            tier
            for speaker, said in segments.items()
            for tier in (
                Tier(f"tx@{speaker}", tuple(said), speaker=speaker),
                Tier(f"nt@{speaker}", (Segment(said[0].start, said[1].end, "unclear"),), speaker=speaker),
            )
        ]
        recording = Recording(f"C:/Users/field worker/story{number}.wav", tuple(tiers), language="cs")
        write_annotations(recording, folder / f"story{number}.eaf")
    return folder


@pytest.mark.recipe
def test_a_folder_of_elan_files_from_preview_to_the_dump(field, project, shell, prepare_recipe):
    before = {path: path.read_bytes() for path in field.rglob("*") if path.is_file()}
    words = ["espnet_wsm", "preview", field, "--tier", "tx@*", "--padding", "0.05"]
    previewed = shell(["python", "-m", *words], project)
    assert previewed.returncode == 0, previewed.stderr
    assert "tiers taken: tx@Anna (type utterances), tx@Boris (type utterances)" in previewed.stdout
    assert "8 utterances overlapping with another" in previewed.stdout
    command = shlex.split(previewed.stdout.splitlines()[-1])
    data_args = command[command.index("--data_args") + 1]
    assert data_args == "--tier tx@* --padding 0.05"
    folder, _ = prepare_recipe(
        "manifest",
        "--downloads",
        field,
        "--data_args",
        data_args,
        "--data_dir",
        "field",
        "--dump_dir",
        "fielddump",
    )
    assert {path: path.read_bytes() for path in field.rglob("*") if path.is_file()} == before
    sets = [folder / "field" / name for name in ("train", "dev", "test")]
    segments = [line.split() for each in sets for line in (each / "segments").read_text().splitlines()]
    dropped = (folder / "field/dropped.txt").read_text().splitlines()
    assert len(segments) + len(dropped) == 32 and all("overlaps with" in line for line in dropped)
    speakers = {line.split()[1] for each in sets for line in (each / "utt2spk").read_text().splitlines()}
    assert speakers == {"Anna", "Boris"}
    seconds = {
        line.split()[0]: int(line.split()[1]) / RATE
        for name in ("train", "dev", "test")
        for line in (folder / f"fielddump/raw/{name}/utt2num_samples").read_text().splitlines()
    }
    for id, _, start, end in segments:
        assert seconds[id] == pytest.approx(float(end) - float(start), abs=0.01)
    texts = "".join((folder / f"fielddump/raw/{each.name}/text").read_text() for each in sets)
    assert "smích" not in texts and "děkuji" in texts
