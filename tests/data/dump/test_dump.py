"""format_audio and merge_audio: any audio in, the same 16-bit mono flac out, however many jobs made it."""

import hashlib
import os
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from espnet_wsm.bin import validate_data_dir
from espnet_wsm.data.audio.recordings import read_recording
from espnet_wsm.data.dump.audio import audio_file_name, parse_speeds
from espnet_wsm.data.kaldi.directory import Utterance, read_data_dir, write_data_dir
from espnet_wsm.errors import UserError
from espnet_wsm.stages import format_audio, merge_audio


def noise(seconds: float, rate: int, channels: int = 1) -> np.ndarray:
    return 0.1 * np.random.default_rng(rate + channels).standard_normal((int(seconds * rate), channels))


SOURCES = [  # id, file, seconds, rate, channels, subtype
    ("a/../../x", "a.wav", 0.5, 16000, 1, "PCM_16"),
    ("b8k", "b.wav", 0.5, 8000, 1, "PCM_16"),
    ("c44k", "c.wav", 0.5, 44100, 1, "PCM_16"),
    ("d2ch", "d.wav", 0.5, 16000, 2, "PCM_16"),
    ("e24", "e.wav", 0.5, 16000, 1, "PCM_24"),
    ("f_all", "f.ogg", 1.0, 44100, 2, "VORBIS"),
    ("é", "g.flac", 0.25, 16000, 1, "PCM_16"),
]


@pytest.fixture
def data(tmp_path, monkeypatch) -> Path:
    """data/train of seven utterances; the working directory is the recipe's, as in a run."""
    monkeypatch.chdir(tmp_path)
    for _, name, seconds, rate, channels, subtype in SOURCES:
        soundfile.write(name, noise(seconds, rate, channels), rate, subtype=subtype)
    write_data_dir(Path("data/train"), [Utterance(id, name, f"text {id}", "s") for id, name, *_ in SOURCES])
    return Path("data/train")


def run(
    nj: int,
    out: str = "dump/raw/train",
    jobs: list[int] | None = None,
    merge: bool = True,
    more: tuple[str, ...] = (),
) -> None:
    for job in jobs or range(1, nj + 1):
        format_audio.main(["--data", "data/train", "--out", out, "--nj", str(nj), "--job", str(job), *more])
    if merge:
        merge_audio.main(["--data", "data/train", "--out", out, "--nj", str(nj), *more])


def fault_of(capsys, call, *args) -> str:
    with pytest.raises(SystemExit) as caught:
        call(*args)
    assert caught.value.code == 1
    return re.search("^error: (.*)", capsys.readouterr().err, re.MULTILINE | re.DOTALL)[1]


def merge_fault(capsys, nj: int) -> str:
    return fault_of(
        capsys, merge_audio.main, ["--data", "data/train", "--out", "dump/raw/train", "--nj", str(nj)]
    )


def test_summary_and_lists(data, capsys):
    run(3)
    assert capsys.readouterr().out == (
        "train: 7 utterances, 0.00 h; resampled 3 (8000 Hz: 1, 44100 Hz: 2), mixed down 2, requantised 2\n"
    )
    out = Path("dump/raw/train")
    assert sorted(path.name for path in out.iterdir()) == (
        ["audio", "spk2utt", "text", "utt2md5", "utt2num_samples", "utt2spk", "wav.scp"]
    )
    utterances = read_data_dir(out)
    assert [utterance.text for utterance in utterances] == [f"text {id}" for id, *_ in SOURCES]
    samples = dict(line.split() for line in (out / "utt2num_samples").read_text().splitlines())
    for utterance, (_, _, seconds, *_) in zip(utterances, SOURCES, strict=True):
        info = soundfile.info(utterance.audio)
        assert (info.samplerate, info.channels, info.format, info.subtype) == (16000, 1, "FLAC", "PCM_16")
        assert info.frames == int(samples[utterance.id]) == seconds * 16000
        assert not os.path.isabs(utterance.audio)
        assert Path(utterance.audio).resolve().parent == (out / "audio").resolve()


def test_converted_says_how_each_was_stored(data):
    run(1, merge=False)
    assert Path("dump/raw/train/split1/1/converted").read_text() == (
        "b8k 8000 1 PCM_16\nc44k 44100 1 PCM_16\nd2ch 16000 2 PCM_16\n"
        "e24 16000 1 PCM_24\nf_all 44100 2 VORBIS\n"
    )


def test_16_bit_mono_keeps_its_samples(data):
    run(2)
    for line, source in ((0, "a.wav"), (6, "g.flac")):
        path = Path("dump/raw/train/wav.scp").read_text().splitlines()[line].split(" ", 1)[1]
        assert np.array_equal(
            soundfile.read(path, dtype="int16")[0], soundfile.read(source, dtype="int16")[0]
        )


@pytest.mark.parametrize("nj", [2, 4, 10])
@pytest.mark.parametrize("more", [(), ("--speed_perturb", "0.9 1.0 1.1")])
def test_the_number_of_jobs_changes_no_byte(data, nj, more):
    run(1, more=more)
    shutil.move("dump/raw/train", "one")
    run(nj, more=more)
    files = sorted(path.relative_to("one") for path in Path("one").rglob("*") if path.is_file())
    many = Path("dump/raw/train")
    assert files == sorted(path.relative_to(many) for path in many.rglob("*") if path.is_file())
    for file in files:
        assert (many / file).read_bytes() == (Path("one") / file).read_bytes(), file


@settings(deadline=None, max_examples=15)
@given(
    st.dictionaries(
        st.text(
            st.characters(codec="utf-8", categories=["L", "P", "S", "N"]), min_size=1, max_size=40
        ).filter(lambda id: "\ufeff" not in id),
        st.integers(1, 500),
        min_size=1,
        max_size=6,
    )
)
def test_wild_ids_and_any_number_of_jobs(tmp_path_factory, lengths):
    root = tmp_path_factory.mktemp("wild")
    for length in lengths.values():
        soundfile.write(root / f"{length}.wav", np.linspace(-1, 1, length), 16000)
    utterances = [Utterance(id, root / f"{length}.wav", "x", "s") for id, length in lengths.items()]
    write_data_dir(root / "data", utterances)
    for nj, out in ((1, "one"), (4, "four")):
        for job in range(1, nj + 1):
            args = [
                "--data",
                str(root / "data"),
                "--out",
                str(root / out),
                "--nj",
                str(nj),
                "--job",
                str(job),
            ]
            format_audio.main(args)
        merge_audio.main(["--data", str(root / "data"), "--out", str(root / out), "--nj", str(nj)])
    contents = [
        {
            path.relative_to(root / out): path.read_bytes()
            for path in (root / out).rglob("*")
            if path.is_file()
        }
        for out in ("one", "four")
    ]
    for file in contents[0]:
        if file.name != "wav.scp":
            assert contents[0][file] == contents[1][file], file
    assert contents[0].keys() == contents[1].keys()
    for utterance in read_data_dir(root / "one"):
        assert len(read_recording(utterance.audio).samples) == lengths[utterance.id]
    assert sorted(path.name for path in root.iterdir()) == sorted(
        {"data", "one", "four", *(f"{length}.wav" for length in lengths.values())}
    )


@given(st.text(st.characters(codec="utf-8"), min_size=1), st.text(st.characters(codec="utf-8"), min_size=1))
def test_file_names_are_safe_and_differ(one, other):
    name = audio_file_name(one)
    assert name.isascii() and "/" not in name and "\0" not in name and len(name) <= 210
    assert name.endswith(".flac") and len(name) > len(".flac")
    assert (name == audio_file_name(other)) == (one == other)


def test_long_ids_that_differ_at_the_end_do_not_collide():
    assert audio_file_name("я" * 100 + "a") != audio_file_name("я" * 100 + "b")


def test_all_bad_audio_of_a_slice_is_reported_together(data, capsys):
    Path("b.wav").write_bytes(b"")
    Path("c.wav").write_bytes(Path("c.wav").read_bytes()[:-4000])
    Path("g.flac").unlink()
    message = fault_of(capsys, run, 1)
    assert message.startswith("data/train: 3 problems\n")
    assert "data/train/wav.scp:2: id b8k: b.wav is empty (0 bytes)" in message
    assert "data/train/wav.scp:3: id c44k: c.wav is truncated or damaged" in message
    assert "data/train/wav.scp:7: id é: g.flac does not exist" in message
    assert not Path("dump/raw/train/split1/1").exists()


def test_line_numbers_hold_in_later_slices(data, capsys):
    Path("g.flac").unlink()
    assert fault_of(capsys, run, 4, "dump/raw/train", [4]).startswith("data/train/wav.scp:7: id é: g.flac")


def test_a_failed_job_leaves_no_lists_of_an_earlier_run(data, capsys):
    run(2, merge=False)
    Path("b.wav").unlink()
    fault_of(capsys, run, 2, "dump/raw/train", [1])
    assert merge_fault(capsys, 2).strip() == (
        "dump/raw/train/split2/1/wav.scp is missing: job 1 of 2 failed or has not run: "
        "see its log and run it again"
    )


def test_audio_of_less_than_one_new_sample(data, capsys):
    soundfile.write("a.wav", np.zeros(1), 192000)
    assert "a.wav is too short: nothing is left at 16000 Hz" in fault_of(capsys, run, 1)


def test_clipped_samples_are_counted(data, capsys):
    soundfile.write("a.wav", np.full(100, 1.25), 16000, subtype="FLOAT")
    run(1)
    captured = capsys.readouterr()
    assert "warning: clipped 100 samples at full scale in 1 utterance: a/../../x\n" in captured.err
    assert captured.out.endswith("; clipped 100 samples in 1 utterance\n")


@pytest.mark.parametrize(("nj", "job"), [(0, 1), (2, 0), (2, 3)])
def test_jobs_outside_their_number(data, capsys, nj, job):
    assert f"--job {job} of --nj {nj}" in fault_of(capsys, run, nj, "dump/raw/train", [job])


def test_bad_rate_and_own_folder(data, capsys):
    args = ["--data", "data/train", "--out", "dump/raw/train"]
    assert "--fs 0: the sampling rate must be positive" in fault_of(
        capsys, format_audio.main, [*args, "--fs", "0"]
    )
    assert "is the data directory itself" in fault_of(capsys, run, 1, "data/train")
    assert "--nj 0: the number of jobs must be positive" in merge_fault(capsys, 0)


def test_merge_finds_utterances_that_are_missing_or_too_many(data, capsys):
    run(2, merge=False)
    utterances = read_data_dir(data)
    write_data_dir(data, [*utterances[1:], Utterance("new", "a.wav", "x", "s")])
    message = merge_fault(capsys, 2)
    assert "1 id of data/train in no slice: new: run all jobs again" in message
    assert "1 id in the slices but not in data/train: a/../../x" in message
    assert not Path("dump/raw/train/wav.scp").exists()


def test_the_samples_of_every_utterance_have_a_digest(data):
    run(2)
    digests = dict(line.split() for line in Path("dump/raw/train/utt2md5").read_text().splitlines())
    audio = dict(line.split() for line in Path("dump/raw/train/wav.scp").read_text().splitlines())
    assert digests.keys() == audio.keys() and len(set(digests.values())) > 1
    for id, path in audio.items():
        samples, _ = soundfile.read(path, dtype="int16")
        assert digests[id] == hashlib.md5(samples.astype("<i2").tobytes()).hexdigest()


def test_merge_finds_utterances_in_two_slices(data, capsys):
    run(2, merge=False)
    for name in ("wav.scp", "utt2num_samples"):
        shutil.copy(f"dump/raw/train/split2/1/{name}", f"dump/raw/train/split2/2/{name}")
    assert "split2/2/wav.scp:1: id a/../../x is also in job 1: the jobs saw different data" in merge_fault(
        capsys, 2
    )


def test_merge_finds_lost_audio_and_mixed_rates(data, capsys):
    run(2, merge=False)
    Path("dump/raw/train/audio/b8k.flac").unlink()
    assert "audio/b8k.flac (id b8k) is gone: run job 1 again" in merge_fault(capsys, 2)
    run(2, merge=False, jobs=[1])
    format_audio.main("--data data/train --out dump/raw/train --nj 2 --job 2 --fs 8000".split())
    assert "different sampling rates ([8000, 16000] Hz)" in merge_fault(capsys, 2)


def test_merge_finds_broken_counts(data, capsys):
    run(1, merge=False)
    path = Path("dump/raw/train/split1/1/utt2num_samples")
    path.write_text(path.read_text().replace("b8k 8000", "b8k many"))
    assert "utt2num_samples:2: id b8k has 'many' instead of a number of samples" in merge_fault(capsys, 1)


def test_data_without_text(data):
    run(1)
    (data / "text").unlink()
    run(1)
    assert not Path("dump/raw/train/text").exists()


def test_text_that_is_not_to_be_read_may_hold_anything(data, capsys):
    (data / "text").write_bytes(b"nobody \xff\n")
    assert "not UTF-8" in fault_of(capsys, run, 1)
    run(1, more=("--no_text",))
    assert not Path("dump/raw/train/text").exists()


def test_running_again_changes_nothing(data):
    run(2)
    before = {path: path.read_bytes() for path in Path("dump").rglob("*") if path.is_file()}
    run(2)
    assert before == {path: path.read_bytes() for path in Path("dump").rglob("*") if path.is_file()}


def samples_at(out: Path) -> dict[str, np.ndarray]:
    return {each.id: soundfile.read(each.audio, dtype="int16")[0] for each in read_data_dir(out)}


def test_copies_at_other_speeds_with_their_ids_speakers_and_texts(data, capsys):
    run(3, more=("--speed_perturb", "0.9 1.0 1.1"))
    assert capsys.readouterr().out.startswith(
        "train: 21 utterances, 0.00 h; 14 at another speed, resampled 9 ("
    )
    out = Path("dump/raw/train")
    utterances = {each.id: each for each in read_data_dir(out)}
    lengths = dict(line.rsplit(" ", 1) for line in (out / "utt2num_samples").read_text().splitlines())
    assert list(lengths) == list(utterances) == sorted(utterances, key=str.encode)
    assert utterances.keys() == {p + id for p in ("", "sp0.9-", "sp1.1-") for id, *_ in SOURCES}
    for id, _, seconds, *_ in SOURCES:
        for prefix, speed in (("", 1.0), ("sp0.9-", 0.9), ("sp1.1-", 1.1)):
            copy = utterances[prefix + id]
            assert (copy.text, copy.speaker) == (f"text {id}", f"{prefix}s")
            assert int(lengths[copy.id]) == soundfile.info(copy.audio).frames
            assert abs(int(lengths[copy.id]) - seconds * 16000 / speed) <= 1
    assert (out / "spk2utt").read_text().splitlines()[1].startswith("sp0.9-s sp0.9-a/../../x sp0.9-b8k ")
    assert (out / "speed_perturb").read_text() == "0.9 1.0 1.1\n"


def test_a_faster_copy_has_a_higher_pitch(data):
    time = np.arange(16000) / 16000
    soundfile.write("a.wav", 0.5 * np.sin(2 * np.pi * 1000 * time), 16000)
    run(1, more=("--speed_perturb", "1.25"))
    copy = samples_at(Path("dump/raw/train"))["sp1.25-a/../../x"]
    assert len(copy) == 12800
    spectrum = np.abs(np.fft.rfft(copy * np.hanning(len(copy))))
    assert spectrum.argmax() * 16000 / len(copy) == pytest.approx(1250, abs=2)


def test_speed_1_is_as_recorded(data):
    run(1, "plain")
    run(2, "one", more=("--speed_perturb", "1"))
    run(2, "many", more=("--speed_perturb", "0.9 1.00 1.1"))
    plain, one, many = samples_at(Path("plain")), samples_at(Path("one")), samples_at(Path("many"))
    assert plain.keys() == one.keys()
    for id, samples in plain.items():
        assert np.array_equal(samples, one[id]) and np.array_equal(samples, many[id])


def test_only_the_speeds_that_are_listed(data):
    run(1, more=("--speed_perturb", "0.9 1.0"))
    run(1, more=("--speed_perturb", "1.1"))
    assert {each.id[:6] for each in read_data_dir(Path("dump/raw/train"))} == {"sp1.1-"}
    run(1)
    assert not Path("dump/raw/train/speed_perturb").exists()
    assert len(read_data_dir(Path("dump/raw/train"))) == 7


@pytest.mark.parametrize("words", ["0.9 x", "0.3", "3", "nan", "1e0", "-1", "0.9,1.1", "sp0.9", "0"])
def test_factors_that_are_none(words, data, capsys):
    bad = words.split()[-1]
    assert fault_of(capsys, run, 1, "out", [1], False, ("--speed_perturb", words)).startswith(
        f"--speed_perturb {words!r}: {bad!r} is not a factor between 0.3 and 3.0; give e.g. '0.9 1.0 1.1'"
    )
    assert not Path("out").exists()


def test_a_factor_given_twice():
    assert parse_speeds(" .5  2.99 ") == {".5": 0.5, "2.99": 2.99}
    with pytest.raises(UserError, match=r"--speed_perturb '1 0.9 1.0': 1.0 is given twice: name each factor"):
        parse_speeds("1 0.9 1.0")


def test_copies_of_a_set_that_holds_copies(data, capsys):
    write_data_dir(data, [*read_data_dir(data), Utterance("sp0.9-b8k", "a.wav", "x", "s")])
    assert fault_of(capsys, run, 1, "out", [1], False, ("--speed_perturb", "0.9")).startswith(
        "data/train: 1 id already there that --speed_perturb would make: sp0.9-b8k: the set already holds"
    )


def test_bad_audio_is_named_with_the_line_of_the_original(data, capsys):
    Path("g.flac").unlink()
    message = fault_of(capsys, run, 1, "out", [1], False, ("--speed_perturb", "0.9 1.1"))
    assert "data/train/wav.scp:7: id sp0.9-é: g.flac does not exist" in message
    assert "data/train/wav.scp:7: id sp1.1-é: g.flac does not exist" in message


def test_merging_with_other_speeds_than_the_jobs_had(data, capsys):
    run(2, merge=False, more=("--speed_perturb", "0.9"))
    message = merge_fault(capsys, 2)
    assert "7 ids of data/train in no slice" in message and "7 ids in the slices but not in" in message


PIPES = ("--allow_pipes", "true")


def test_commands_in_place_of_audio_run_only_when_allowed(data, capsys):
    run(1, "dump/raw/files")
    lines = [line.split() for line in (data / "wav.scp").read_text().splitlines()]
    (data / "wav.scp").write_text("".join(f"{id} echo ran >&2; cat '{path}' |\n" for id, path in lines))
    assert "is a command, not a file: convert the audio first" in fault_of(capsys, run, 1)
    assert "7 problems" in fault_of(capsys, validate_data_dir.main, [str(data)])
    validate_data_dir.main([*PIPES, str(data)])
    assert "ran" not in capsys.readouterr().err
    run(2, more=PIPES)
    for file in sorted(Path("dump/raw/files/audio").iterdir()):
        assert (Path("dump/raw/train/audio") / file.name).read_bytes() == file.read_bytes()


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("echo no such thing >&2; false |", "failed with status 1 (no such thing): try it"),
        ("false | cat a.wav |", "failed with status 1"),
        ("true |", "what 'true |' writes is empty (0 bytes)"),
        ("echo text |", "what 'echo text |' writes is not audio that can be read"),
        ("head -c 600 a.wav |", "what 'head -c 600 a.wav |' writes is truncated or damaged"),
    ],
)
def test_a_command_without_audio_is_named(data, capsys, command, message):
    lines = (data / "wav.scp").read_text().splitlines()
    (data / "wav.scp").write_text("\n".join([*lines[:-1], f"{lines[-1].split()[0]} {command}"]) + "\n")
    fault = fault_of(capsys, lambda: run(1, more=PIPES))
    assert "wav.scp:7: id é: " in fault and message in fault
