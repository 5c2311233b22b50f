"""Joined utterances: each speaker's by themselves, in a fixed order, as long as they may be."""

import numpy as np
import pytest
import soundfile

from espnet_wsm.data.dump.joining import join_utterances
from espnet_wsm.data.dump.lists import read_dump, read_joined, write_dump_lists
from espnet_wsm.data.dump.pseudo_labels import plan_pool, read_pool
from espnet_wsm.data.dump.subset import subset_dump
from espnet_wsm.data.kaldi.directory import Utterance
from espnet_wsm.data.kaldi.lists import write_list
from espnet_wsm.data.text.language_model import read_training_sentences
from espnet_wsm.errors import UserError
from espnet_wsm.stages import join_utterances as stage
from espnet_wsm.stages import limit_duration

FS = 16_000


def write(directory, seconds: dict[str, float], text="a b"):
    """Utterances ``SPEAKER-NUMBER`` of constant samples, each its own."""
    (directory / "audio").mkdir(parents=True)
    utterances, num_samples = [], {}
    for number, (name, length) in enumerate(seconds.items(), 1):
        file = directory / "audio" / f"{name}.flac"
        soundfile.write(file, np.full(round(length * FS), number, np.int16), FS)
        utterances.append(
            Utterance(name, file, text and f"{text}{number}", "bob" if "+" in name else name.split("-")[0])
        )
        num_samples[name] = round(length * FS)
    write_dump_lists(directory, utterances, num_samples)
    write_list(directory / "speech_shape", num_samples)
    return directory


@pytest.fixture
def dump(tmp_path):
    """Three speakers, 20 utterances of 1 to 4 s each but for one who has said one thing."""
    seconds = {f"{who}-{i:02}": 1 + (i % 7) / 2 for who in ("ann", "bob") for i in range(20)}
    return write(tmp_path / "raw/train", seconds | {"zoe-00": 2.0})


def test_a_joined_utterance_is_its_parts_with_pauses_between_them(dump):
    before, lengths = read_dump(dump, need_text=True)
    summary = join_utterances(dump, 10, 0.25)
    after, samples = read_dump(dump, need_text=True)
    joined, texts = read_joined(dump), {each.id: each.text for each in before}
    assert [each for each in after if each.id not in joined] == before
    assert summary.startswith(f"train: {len(joined)} joined utterances of ") and " of the 41, " in summary
    numbers = {each.id: place for place, each in enumerate(before, 1)}
    for each in after:
        if each.id not in joined:
            continue
        parts = joined[each.id]
        assert each.id == f"{parts[0]}+{len(parts) - 1}" and each.text == " ".join(texts[p] for p in parts)
        assert {part.split("-")[0] for part in parts} == {each.speaker}
        audio, rate = soundfile.read(each.audio, dtype="int16")
        expected = [np.full(lengths[part], numbers[part], np.int16) for part in parts]
        gaps = [piece for part in expected for piece in (np.zeros(FS // 4, np.int16), part)][1:]
        assert rate == FS and np.array_equal(audio, np.concatenate(gaps))
        assert len(audio) == samples[each.id] <= 10 * FS
    shapes = dict(line.split() for line in (dump / "speech_shape").read_text().splitlines())
    assert shapes == {id: str(number) for id, number in samples.items()}


def test_each_utterance_is_joined_once_and_as_many_as_fit(dump):
    join_utterances(dump, 10, 0)
    _, lengths = read_dump(dump)
    groups = list(read_joined(dump).values())
    parts = [part for group in groups for part in group]
    assert len(parts) == len(set(parts)) and "zoe-00" not in parts and len(parts) >= 38
    totals = [sum(lengths[part] for part in group) for group in groups]
    for group, total, following in zip(groups, totals, groups[1:], strict=False):
        if group[0].split("-")[0] == following[0].split("-")[0] and group is not groups[-1]:
            assert total > 6 * FS  # no utterance is longer than 4 s


def test_words_of_a_set_written_without_spaces_are_joined_without(tmp_path):
    dump = write(tmp_path / "raw/train", {"ann-1": 1, "ann-2": 1}, text="x")
    join_utterances(dump, 10, 0)
    (joined,) = read_joined(dump)
    assert {each.id: each.text for each in read_dump(dump)[0]}[joined] in ("x1x2", "x2x1")


def test_speech_without_text_is_joined_too(tmp_path):
    dump = write(tmp_path / "raw/unlabelled", {"ann-1": 1, "ann-2": 1}, text="")
    join_utterances(dump, 10, 0)
    assert not (dump / "text").exists() and len(read_dump(dump)[0]) == 3


def test_a_part_of_the_minutes_has_joined_utterances_of_its_own_speech_alone(dump, tmp_path):
    plain = subset_dump(dump, 0.8, tmp_path / "plain")
    join_utterances(dump, 10, 0)
    summary = subset_dump(dump, 0.8, tmp_path / "few")
    kept, joined = {each.id for each in read_dump(tmp_path / "few")[0]}, read_joined(tmp_path / "few")
    assert summary.minutes == plain.minutes and len(joined) >= 2
    assert kept - joined.keys() == {each.id for each in read_dump(tmp_path / "plain")[0]}
    assert joined.keys() <= kept and all(set(parts) <= kept for parts in joined.values())


def test_self_training_hears_no_transcript_and_no_test_audio_in_joined_speech(dump, tmp_path):
    join_utterances(dump, 10, 0)
    subset_dump(dump, 0.8, tmp_path / "few")
    test = write(tmp_path / "raw/test", {"tim-0": 3.0})
    secret = "bob-00"
    soundfile.write(
        test / "audio/tim-0.flac", soundfile.read(dump / f"audio/{secret}.flac", dtype="int16")[0], FS
    )
    plan_pool(tmp_path / "out", dump, [test], tmp_path / "few")
    pool, joined = set(read_pool(tmp_path / "out")), read_joined(dump)
    known = {each.id for each in read_dump(tmp_path / "few")[0]}
    heard = {part for id in pool for part in joined.get(id, [id])}
    assert pool & joined.keys() and not heard & (known | {secret})


def test_an_ngram_learns_each_transcript_once(dump):
    plain = read_training_sentences(dump / "text")
    join_utterances(dump, 10, 0)
    assert read_training_sentences(dump / "text") == plain


def test_nothing_to_join_is_an_error_unless_it_may_be(tmp_path, capsys):
    dump = write(tmp_path / "raw/train", {"ann-1": 1, "bob-1": 1})
    with pytest.raises(UserError, match="no two utterances of a speaker are 10 s or less together"):
        join_utterances(dump, 10, 0.2)
    stage.main(["--dir", str(dump), "--max_seconds", "10", "--may_be_none"])
    assert "no two utterances of a speaker to join" in capsys.readouterr().out
    assert not (dump / "joined").exists()


def test_what_cannot_be_is_refused(dump):
    for seconds, pause in ((0, 0), (5, -1), (5, 5), (float("nan"), 0)):
        with pytest.raises(UserError, match="need 0 <= pause < max_seconds"):
            join_utterances(dump, seconds, pause)
    join_utterances(dump, 10, 0)
    with pytest.raises(UserError, match="has joined utterances already"):
        join_utterances(dump, 10, 0)


def test_an_id_that_is_taken_is_refused(tmp_path):
    dump = write(tmp_path / "raw/train", {"ann-1": 1, "ann-2": 1, "ann-1+1": 9, "ann-2+1": 9})
    with pytest.raises(UserError, match=r"ids already there that joining would make: ann-[12]\+1"):
        join_utterances(dump, 5, 0)


def test_nothing_is_joined_to_more_than_the_training_takes(upstream_path, tmp_path, capsys):
    (tmp_path / "train.yaml").write_text("encoder: rnn\n")
    with pytest.raises(SystemExit):
        limit_duration.main(
            ["--max_seconds", "20", "--join_to", "25", "--", "--config", str(tmp_path / "train.yaml")]
        )
    assert "--join_to 25: give at most 20 seconds, what --max_wav_duration allows" in capsys.readouterr().err
