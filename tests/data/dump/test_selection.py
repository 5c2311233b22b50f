"""Selection: what is dropped and why, by CTC's own rule."""

import math
import re
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from espnet_wsm.data.dump.lists import write_dump_lists
from espnet_wsm.data.dump.selection import count_ctc_frames
from espnet_wsm.data.kaldi.directory import Utterance, read_data_dir
from espnet_wsm.frames import count_encoder_frames
from espnet_wsm.stages import make_tokens, select_utterances

UTTERANCES = {  # id: (samples, text)
    "a_long": (16000 * 20 + 1, "abc"),
    "b_short": (1599, "abc"),
    "c_full": (400 + 320 * 4, "abccb"),  # 5 frames for 5 tokens and one repeat
    "d_fits": (400 + 320 * 5, "abccb"),  # 6 frames
    "e_limits": (1600, "ab"),
    "f_good": (16000 * 20, "cab"),
}
KEPT = ["d_fits", "e_limits", "f_good"]
LISTS = ("wav.scp", "text", "utt2spk", "spk2utt", "utt2num_samples", "speech_shape")


@pytest.fixture
def dump(tmp_path, monkeypatch) -> Path:
    """dump/raw/train as merge_audio leaves it (without the audio, which selection does not read)."""
    monkeypatch.chdir(tmp_path)
    write(UTTERANCES)
    make_tokens.main("--text dump/raw/train/text --out dump/token_list/char".split())
    return Path("dump/raw/train")


def write(utterances: dict[str, tuple[int, str]]) -> None:
    write_dump_lists(
        Path("dump/raw/train"),
        [Utterance(id, f"{id}.flac", text, "s") for id, (_, text) in utterances.items()],
        {id: samples for id, (samples, _) in utterances.items()},
    )


def select(out: str = "dump/selected/train", *options: str, tokens: bool = True) -> None:
    args = ["--dir", "dump/raw/train", "--out", out, "--log", "dump/log/dropped_train.txt", *options]
    select_utterances.main([*args, "--tokens", "dump/token_list/char"] if tokens else args)


def fault_of(capsys, *args, **kwargs) -> str:
    with pytest.raises(SystemExit) as caught:
        select(*args, **kwargs)
    assert caught.value.code == 1
    return re.search("^error: (.*)", capsys.readouterr().err, re.MULTILINE | re.DOTALL)[1]


def contents(*folders: str) -> dict[Path, bytes]:
    return {
        path: path.read_bytes() for folder in folders for path in Path(folder).rglob("*") if path.is_file()
    }


def test_lists_log_and_summary(dump, capsys):
    out = "dump/selected/train"
    capsys.readouterr()
    select(out)
    assert capsys.readouterr().out == (
        "train: kept 3 of 6; dropped 1 longer than 20 s, 1 shorter than 0.1 s, 1 with more text than frames "
        "(ids in dump/log/dropped_train.txt)\n"
    )
    assert Path("dump/log/dropped_train.txt").read_text() == (
        "a_long too_long seconds=20.0001 max_seconds=20\n"
        "b_short too_short seconds=0.0999 min_seconds=0.1\n"
        "c_full too_few_frames frames=5 tokens=5 repeats=1\n"
    )
    for name in LISTS[:3] + LISTS[4:]:
        lines = (Path(out) / name).read_text().splitlines()
        assert [line.split()[0] for line in lines] == KEPT, name
    assert (Path(out) / "spk2utt").read_text() == "s d_fits e_limits f_good\n"
    assert (Path(out) / "speech_shape").read_text() == "d_fits 2000\ne_limits 1600\nf_good 320000\n"


def test_running_again_changes_nothing(dump, capsys):
    capsys.readouterr()
    select()
    before, line = contents("dump"), capsys.readouterr().out
    select()
    assert contents("dump") == before and capsys.readouterr().out == line


def test_limits_can_be_widened_again(dump):
    select()
    select("dump/selected/train", "--max_seconds", "30", "--min_seconds", "0")
    kept = read_data_dir(Path("dump/selected/train"))
    assert [utterance.id for utterance in kept] == ["a_long", "b_short", *KEPT]


def test_selecting_over_the_input_is_refused(dump, capsys):
    before = contents("dump")
    assert "dump/raw/train is --dir itself" in fault_of(capsys, "dump/raw/train")
    assert contents("dump") == before


def test_nothing_to_drop_leaves_an_empty_log(dump, capsys):
    write({"a": (16000, "abc")})
    capsys.readouterr()
    select()
    assert capsys.readouterr().out == "train: kept 1 of 1\n"
    assert Path("dump/log/dropped_train.txt").read_text() == ""


def test_without_tokens_only_the_length_counts(dump):
    (dump / "text").unlink()
    select(tokens=False)
    out = Path("dump/selected/train")
    assert [utterance.id for utterance in read_data_dir(out, need_text=False)] == ["c_full", *KEPT]
    assert not (out / "text").exists()


def test_nothing_kept_is_an_error_that_leaves_the_lists(dump, capsys):
    before = {name: (dump / name).read_bytes() for name in LISTS[:-1]}
    message = fault_of(capsys, "dump/selected/train", "--min_seconds", "19", "--max_seconds", "19.5")
    assert message.startswith(
        "train: kept 0 of 6; dropped 2 longer than 19.5 s, 4 shorter than 19 s (ids in "
    )
    assert message.endswith("nothing is left of dump/raw/train: widen the limits\n")
    assert before == {name: (dump / name).read_bytes() for name in LISTS[:-1]}
    assert len(Path("dump/log/dropped_train.txt").read_text().splitlines()) == 6


def test_faults_of_options_and_lists(dump, capsys):
    assert "--min_seconds 3.0 --max_seconds 2.0: need 0 <= min <= max" in fault_of(
        capsys, "out", "--min_seconds", "3", "--max_seconds", "2"
    )
    assert "--fs 0: the sampling rate must be positive" in fault_of(capsys, "out", "--fs", "0")
    counts = (dump / "utt2num_samples").read_text()
    (dump / "utt2num_samples").write_text(counts.replace("f_good 320000\n", ""))
    assert "utt2num_samples: its ids differ from those of dump/raw/train/wav.scp: f_good" in fault_of(
        capsys, "out"
    )
    (dump / "utt2num_samples").write_text(counts.replace("320000", "-3"))
    assert "utt2num_samples:6: id f_good has '-3' instead of a number" in fault_of(capsys, "out")
    (dump / "utt2num_samples").write_text(counts)
    (dump / "text").unlink()
    assert "dump/raw/train/text does not exist: it is needed with --tokens" in fault_of(capsys, "out")
    Path("dump/token_list/char/tokens.txt").unlink()
    assert "tokens.txt cannot be read (No such file or directory)" in fault_of(capsys, "out")


def test_neighbours_outside_the_token_list_are_equal(dump):
    """Both become <unk>, so CTC needs a blank between them."""
    write({"a": (400 + 320 * 1, "xy"), "b": (400 + 320 * 2, "xy")})
    select("dump/selected/train", "--min_seconds", "0")
    assert [utterance.id for utterance in read_data_dir(Path("dump/selected/train"))] == ["b"]


@given(st.integers(0, 100_000))
def test_frames_are_those_of_the_convolutions(num_samples):
    frames = num_samples
    for kernel, stride in ((10, 5), (3, 2), (3, 2), (3, 2), (3, 2), (2, 2), (2, 2)):
        frames = max(0, (frames - kernel) // stride + 1)
    assert count_encoder_frames(num_samples) == frames


@given(st.lists(st.integers(1, 3), min_size=1, max_size=8))
def test_ctc_loss_is_finite_from_exactly_that_many_frames(ids):
    def loss(frames: int) -> float:
        log_probs = torch.zeros(frames, 1, 4).log_softmax(dim=-1)
        lengths = torch.tensor([frames]), torch.tensor([len(ids)])
        return torch.nn.functional.ctc_loss(log_probs, torch.tensor([ids]), *lengths, reduction="sum").item()

    needed = count_ctc_frames(ids)
    assert math.isfinite(loss(needed))
    assert needed == 1 or math.isinf(loss(needed - 1))
