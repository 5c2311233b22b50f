"""Everything that is wrong with the data is found in one pass, and named with its place and its remedy."""

from pathlib import Path

import numpy as np
import pytest
import soundfile

from espnet_wsm.bin import validate_data_dir
from espnet_wsm.data.kaldi.directory import Utterance, write_data_dir
from espnet_wsm.data.kaldi.validation import shorten, survey_data_dir

RATE = 8000


def make_set(folder: Path, texts: dict[str, str], speaker: str, seconds: float = 1.0) -> None:
    """Utterances of one speaker, of noise."""
    utterances = []
    for number, (id, text) in enumerate(texts.items()):
        audio = Path("audio") / f"{id}.wav"
        audio.parent.mkdir(exist_ok=True)
        noise = 0.1 * np.random.default_rng(number).standard_normal(round(seconds * RATE))
        soundfile.write(audio, noise, RATE, subtype="PCM_16")
        utterances.append(Utterance(id, audio, text, speaker))
    write_data_dir(folder, utterances)


@pytest.fixture
def sets(tmp_path, monkeypatch) -> tuple[Path, Path]:
    """Two good sets of twenty and four utterances."""
    monkeypatch.chdir(tmp_path)
    words = ["lorem", "ipsum", "dolor", "sit amet", "quam"]
    make_set(Path("train"), {f"a{i:02}": f"{words[i % 5]} {chr(97 + i)}" for i in range(20)}, "anna")
    make_set(Path("test"), {f"t{i}": f"{words[i]} quis" for i in range(4)}, "tom")
    return Path("train"), Path("test")


def replace(path: Path, old: str, new: str) -> None:
    """In the bytes of a list, once."""
    content = path.read_bytes()
    assert content.count(old.encode()) == 1
    path.write_bytes(content.replace(old.encode(), new.encode("latin-1")))


def test_good_sets_pass_without_a_word(sets, capsys):
    validate_data_dir.main(["--train", "train", "test"])
    printed = capsys.readouterr()
    assert printed.out == (
        "train: 20 utterances, 1 speaker, 148 characters, 0.01 h\n"
        "test: 4 utterances, 1 speaker, 43 characters, 0.00 h\n"
    )
    assert not printed.err


def test_twelve_faults_are_all_named(sets, capsys):
    train, test = sets
    replace(train / "text", "a00 lorem a\n", "a00 lorem \xe4\n")  # 1: not UTF-8
    replace(train / "text", "a01 ipsum b\n", "a01 \n")  # 2: no transcript
    replace(train / "text", "a02 dolor c\n", "")  # 3: an id that a list lacks
    replace(train / "utt2spk", "a03 anna\na04 anna\n", "a04 anna\na03 anna\n")  # 4: order
    Path("audio/a05.wav").unlink()  # 5: audio that is not there
    Path("audio/a06.wav").write_bytes(b"")  # 6: empty
    Path("audio/a07.wav").write_bytes(b"this is no audio at all" * 9)  # 7
    Path("audio/a08.wav").write_bytes(Path("audio/a08.wav").read_bytes()[:9000])  # 8: cut short
    replace(train / "text", "a09 quam j\n", f"a09 {'very long ' * 8}\n")  # 9: another's transcript
    soundfile.write("audio/a10.wav", np.zeros(round(0.05 * RATE)), RATE)  # 10: too short
    replace(test / "utt2spk", "t0 tom\n", "t0 anna\n")  # 11: speaker of the training set
    replace(test / "text", "t1 ipsum quis\n", "t1 ipsum h\n")  # 12: its text, of a07
    replace(train / "text", "a12 dolor m\n", "a12 ipsum h\n")
    replace(test / "text", "t2 dolor quis\n", "t2 dolor xyz\n")  # 13: characters that it lacks
    with pytest.raises(SystemExit) as stop:
        validate_data_dir.main(["--train", "train", "test"])
    assert stop.value.code == 1
    said = capsys.readouterr().err
    for sentence in (
        "train/text:1: not UTF-8 at byte 10 of the file (0xe4)",
        "train/text:2: id a01 has an empty transcript",
        "train/wav.scp:3: 1 id without a line in train/text: a02",
        "train/utt2spk:5: id a03 comes after a04, so the file is not sorted",
        "train/wav.scp:6: id a05: audio/a05.wav does not exist",
        "train/wav.scp:7: id a06: audio/a06.wav is empty (0 bytes)",
        "train/wav.scp:8: id a07: audio/a07.wav is not audio that can be read",
        "train/wav.scp:9: id a08: audio/a08.wav is truncated or damaged",
        "warning: train/text:9: id a09: 64 characters in 1.00 s, more than CTC can tell (50 a second)",
        "warning: train/wav.scp: 1 utterance shorter than 0.1 s, which training leaves out: a10 (0.05 s)",
        "warning: test/utt2spk: 1 of 2 speakers also in train: anna",
        "warning: test/text: 1 of 4 transcripts (25 %) also in train: t1",
        "warning: test/text: 2 characters that train does not have: x (U+0078, 1 time), z (U+007A",
    ):
        assert sentence in said, sentence
    assert "8 problems" in said and "Traceback" not in said


def test_a_transcript_far_from_the_others_is_suspicious(sets):
    train, _ = sets
    make_set(Path("slow"), {f"s{i:02}": "so many words that are said" for i in range(12)}, "sue", 4.0)
    replace(Path("slow/text"), "s03 so many words that are said", "s03 so")
    [warning] = survey_data_dir(Path("slow")).warnings
    assert warning.startswith(
        "slow/text:4: id s03: 2 characters in 4.00 s, 0.5 a second where the median is 5.5"
    )
    assert not survey_data_dir(train).warnings


def test_audio_of_two_sets_is_an_error_and_of_two_ids_a_warning(sets, capsys):
    train, test = sets
    replace(test / "wav.scp", "t3 audio/t3.wav", "t3 audio/a00.wav")
    replace(train / "wav.scp", "a02 audio/a02.wav", "a02 audio/a01.wav")
    with pytest.raises(SystemExit):
        validate_data_dir.main(["--train", "train", "test"])
    said = capsys.readouterr().err
    assert "test/wav.scp:4: id t3: audio/a00.wav is also the training utterance a00: take it out" in said
    assert "warning: train/wav.scp: audio/a01.wav is the audio of a01, a02" in said


def test_other_tools_lists_and_sampling_rates_are_looked_at(sets):
    train, _ = sets
    replace(train / "spk2utt", " a03", "")
    soundfile.write("audio/a04.wav", 0.1 * np.ones(16000), 16000)
    warnings = survey_data_dir(train).warnings
    assert len(warnings) == 2
    assert warnings[0].startswith("train/spk2utt: not what utt2spk says for anna")
    assert "several sampling rates (19 at 8000 Hz, 1 at 16000 Hz)" in warnings[1]


def test_without_a_look_at_the_audio_it_has_to_be_there_all_the_same(sets):
    train, _ = sets
    Path("audio/a00.wav").unlink()
    Path("audio/a01.wav").write_bytes(b"no audio")
    survey = survey_data_dir(train, open_audio=False)
    assert len(survey.errors) == 1 and "id a00" in survey.errors[0] and len(survey.measured) == 19
    assert str(survey) == "train: 19 utterances, 1 speaker, 141 characters"


def test_faults_of_one_kind_do_not_hide_those_of_another():
    alike = [f"data/wav.scp:{i}: id u{i}: {i}.wav does not exist: correct the path" for i in range(30)]
    other = ["data/text:3: id u3 has an empty transcript: fill it in", "data/wav.scp is empty: fetch it"]
    shown = shorten([*alike, *other])
    assert shown == [*alike[:10], "data/wav.scp: 20 more of the last kind: correct the path", *other]
