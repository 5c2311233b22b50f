import hashlib
from itertools import pairwise

import pytest

from espnet_wsm.data.dump.lists import write_dump_lists
from espnet_wsm.data.dump.subset import subset_dump
from espnet_wsm.data.kaldi.directory import Utterance, read_data_dir
from espnet_wsm.errors import UserError
from espnet_wsm.stages.subset_dump import main

FS = 16_000


@pytest.fixture
def dump(tmp_path):
    """60 utterances of 1 to 20 s, 630 s in all."""
    return write_dump(tmp_path / "raw/train", {f"utt{i:02}": (1 + i % 20) * FS for i in range(60)})


def write_dump(directory, num_samples):
    utterances = [Utterance(name, f"{name}.flac", "text", "spk") for name in num_samples]
    write_dump_lists(directory, utterances, num_samples)
    return directory


def ids(directory):
    return [each.id for each in read_data_dir(directory)]


def test_takes_as_much_as_fits_in_the_order_of_digests(dump, tmp_path):
    summary = subset_dump(dump, 3, tmp_path / "3min")
    samples = {f"utt{i:02}": (1 + i % 20) * FS for i in range(60)}
    order = sorted(samples, key=lambda name: hashlib.sha256(name.encode()).digest())
    taken = ids(tmp_path / "3min")
    assert sorted(order[: len(taken)]) == taken and 1 < len(taken) < 60
    used = sum(samples[name] for name in taken)
    assert used <= 180 * FS < used + samples[order[len(taken)]]
    assert summary.minutes == pytest.approx(used / FS / 60) and summary.utterances == len(taken)
    shape = (tmp_path / "3min/speech_shape").read_text().split("\n")
    assert shape[0] == f"{taken[0]} {samples[taken[0]]}"


def test_fewer_minutes_are_part_of_more(dump, tmp_path):
    sets = [(subset_dump(dump, m, tmp_path / str(m)), set(ids(tmp_path / str(m))))[1] for m in (1, 2, 5, 10)]
    assert all(first < second for first, second in pairwise(sets))


def test_copies_come_along_and_do_not_count(dump, tmp_path):
    alone = subset_dump(dump, 3, tmp_path / "alone")
    copies = {
        f"{prefix}utt{i:02}": int((1 + i % 20) * FS / speed)
        for i in range(60)
        for prefix, speed in (("sp0.9-", 0.9), ("", 1.0), ("sp1.1-", 1.1))
    }
    perturbed = write_dump(tmp_path / "sp/raw/train", copies)
    (tmp_path / "sp/raw/org/train").mkdir(parents=True)
    (tmp_path / "sp/raw/org/train/speed_perturb").write_text("0.9 1.0 1.1\n")
    summary = subset_dump(perturbed, 3, tmp_path / "copied")
    assert summary.minutes == alone.minutes and summary.utterances == 3 * alone.utterances
    assert {name.removeprefix("sp0.9-").removeprefix("sp1.1-") for name in ids(tmp_path / "copied")} == set(
        ids(tmp_path / "alone")
    )


@pytest.mark.parametrize(
    ("minutes", "words"),
    [(0, "positive"), (-1, "positive"), (11, "10.5 minutes"), (0.001, "first utterance")],
)
def test_impossible_minutes_are_refused(dump, tmp_path, minutes, words):
    with pytest.raises(UserError, match=words):
        subset_dump(dump, minutes, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_command_prints_what_it_took(dump, tmp_path, capsys):
    main(["--dir", str(dump), "--minutes", "2", "--out", str(tmp_path / "2min")])
    assert capsys.readouterr().out.startswith("2min: ")
