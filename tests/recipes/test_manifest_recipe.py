"""egs/manifest from a Kaldi directory with segments to the score; see also tests/data/corpora/test_tables."""

import numpy as np
import pytest
import soundfile

TEXTS = ("dobrý den", "děkuji", "na shledanou", "kolik to stojí")


@pytest.mark.recipe
def test_a_kaldi_directory_with_segments_from_the_corpus_to_the_dump(speak, prepare_recipe, tmp_path):
    """Ten recordings in which a speaker says everything."""
    lists = {name: [] for name in ("wav.scp", "segments", "text", "utt2spk")}
    for speaker in range(10):
        parts, rate, begin = [], 16000, 0.0
        recording = tmp_path / f"recordings/r{speaker}.flac"
        for number, text in enumerate(TEXTS):
            speak(tmp_path / "part.wav", text, "cs", rate, 20 + 5 * speaker)
            parts.append(soundfile.read(tmp_path / "part.wav")[0])
            end = begin + len(parts[-1]) / rate
            id = f"s{speaker}-{number}"
            lists["segments"].append(f"{id} r{speaker} {begin:.3f} {end:.3f}")
            lists["text"].append(f"{id} {text}")
            lists["utt2spk"].append(f"{id} s{speaker}")
            begin = end
        recording.parent.mkdir(exist_ok=True)
        soundfile.write(recording, np.concatenate(parts), rate)
        lists["wav.scp"].append(f"r{speaker} {recording}")
    (tmp_path / "kaldi").mkdir()
    for name, lines in lists.items():
        (tmp_path / "kaldi" / name).write_text("\n".join(lines) + "\n")
    folder, exp = prepare_recipe("manifest", "--downloads", tmp_path / "kaldi")
    assert exp == "exp/asr_train_ctc_char"
    assert (folder / "data/test/segments").read_text().count("\n") == len(TEXTS)
    texts = (folder / "dump/raw/test/text").read_text().splitlines()
    assert sum(len(line.split()) - 1 for line in texts) == sum(len(text.split()) for text in TEXTS)
