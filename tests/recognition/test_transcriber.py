"""Loading a trained model from wherever it is, transcribing audio of any length, and the command for it."""

import argparse
import gc
import itertools
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import sentencepiece
import soundfile
import torch
import yaml
from checkpoints import CHECKPOINTS
from espnet2.bin import pack
from tiny_training import AVERAGE, TOKENS, encoder_conf, make_lively, noise

import espnet_wsm
from espnet_wsm.annotations import read_annotations
from espnet_wsm.bin import align, asr_train, transcribe
from espnet_wsm.data.audio.recordings import convert, read_recording, stream_converted
from espnet_wsm.errors import UserError
from espnet_wsm.files import digest_file
from espnet_wsm.recognition import acoustic_model
from espnet_wsm.recognition.calibration import Calibration, write_calibration
from espnet_wsm.recognition.chunks import ChunkedRecording
from espnet_wsm.recognition.greedy import GreedyCtcDecoder
from espnet_wsm.recognition.live import LiveOptions, LiveTranscriber
from espnet_wsm.recognition.transcriber import Transcriber


@pytest.fixture(autouse=True)
def as_on_a_processor_without_bfloat16(monkeypatch) -> None:
    """So that texts can be compared to the last letter."""
    monkeypatch.setattr(acoustic_model, "choose_dtype", lambda dtype, device: "float32")


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> Path:
    """Where the first test that needs a recipe leaves it for the others."""
    return tmp_path_factory.mktemp("trained") / "recipe"


@pytest.fixture
def recipe(trained, training_arguments, upstream_path, tmp_path, monkeypatch) -> Path:
    """A recipe's folder as training leaves it, paths in ``config.yaml`` relative to it; we are in it."""
    recipe, exp = tmp_path / "recipe", Path("exp/en/asr_x")
    if not trained.exists():
        shutil.copytree(upstream_path("hf_hubert", True), recipe / "dump/upstream")
        monkeypatch.chdir(recipe)
        asr_train.main(training_arguments(recipe / exp, encoder_conf=encoder_conf("dump/upstream")))
        make_lively(recipe / exp)
        shutil.copytree(recipe, trained, symlinks=True)
        (trained / "place").write_text(str(tmp_path))
        return recipe
    shutil.copytree(trained, recipe, symlinks=True)
    config = recipe / exp / "config.yaml"
    config.write_text(config.read_text().replace((recipe / "place").read_text(), str(tmp_path)))
    (recipe / "place").unlink()
    monkeypatch.chdir(recipe)
    return recipe


def expected_text(recipe: Path, samples: np.ndarray) -> str:
    """What GreedyCtcDecoder gives in the recipe's folder; not trivial."""
    decoder = GreedyCtcDecoder(recipe / "exp/en/asr_x/config.yaml", recipe / "exp/en/asr_x" / AVERAGE)
    [hypothesis] = decoder(torch.from_numpy(samples)[None], torch.tensor([len(samples)]))
    assert len(set(hypothesis.token_ids)) > 2
    return hypothesis.text


def pack_model(recipe: Path, archive: Path, *options: str, **changes: str | None) -> None:
    exp = recipe / "exp/en/asr_x"
    files = {"asr_train_config": str(exp / "config.yaml"), "asr_model_file": str(exp / AVERAGE)} | changes
    arguments = ["asr", "--outpath", str(archive)]
    for name, value in files.items():
        arguments += [f"--{name}", value] if value else []
    for option in options:
        arguments += ["--option", option]
    pack.main(arguments)


def fault_of(*args, **kwargs) -> str:
    with pytest.raises(UserError) as caught:
        espnet_wsm.load(*args, **kwargs)
    return str(caught.value)


def write_halves(exp: Path, checkpoint: Path) -> Path:
    """A calibration after which every word is as likely right as not."""
    (exp / "decode_greedy").mkdir(exist_ok=True)
    file = exp / "decode_greedy/confidence.json"
    write_calibration(file, Calibration((0.0, 1.0), (0.5, 0.5)), {"model_digest": digest_file(checkpoint)})
    return file


@pytest.mark.parametrize("packed", [False, True])
def test_confidences_are_calibrated_if_that_was_learnt_with_this_checkpoint(recipe, corpus, packed):
    samples = read_recording(corpus / "u3.flac").samples[:, 0]
    exp = Path("exp/en/asr_x")
    plain = espnet_wsm.load(exp).detailed(samples).words
    file, model = write_halves(exp, exp / AVERAGE), exp
    if packed:
        pack_model(recipe, recipe / "model.zip", str(file))
        model = "model.zip"
    words = espnet_wsm.load(model).detailed(samples).words
    assert words and {word.confidence for word in words} == {0.5} != {word.confidence for word in plain}
    assert [word.characters for word in words] == [word.characters for word in plain]
    if not packed:
        write_halves(exp, exp / "config.yaml")  # as if of another training
        assert espnet_wsm.load(exp).detailed(samples).words == plain


def test_a_call_gives_the_text_of_greedy_decoding(recipe, corpus):
    samples = read_recording(corpus / "u3.flac").samples[:, 0]
    assert espnet_wsm.load("exp/en/asr_x")(samples) == expected_text(recipe, samples)


def test_details_are_the_words_of_the_text_with_times_and_confidences(recipe):
    """Also across chunks, whose frames are numbered on."""
    transcriber = espnet_wsm.load("exp/en/asr_x", chunk_seconds=8)
    for seconds in (1, 20):
        samples = noise(seconds)
        found = transcriber.detailed(samples)
        assert found.text == transcriber(samples) and found.duration == seconds
        assert [word.text for word in found.words] == found.text.split()
        assert len(found.words) > 1 and all(0 <= word.confidence <= 1 for word in found.words)
        for one, other in itertools.pairwise(found.words):
            assert one.start < one.end <= other.start
        assert found.words[-1].end <= seconds
        for word in found.words:
            assert "".join(each.text for each in word.characters) == word.text
    assert found.words[0].start < 8 < 16 < found.words[-1].start


def test_paths_of_the_recipe_are_found_from_any_working_directory(recipe, tmp_path, monkeypatch):
    expected = expected_text(recipe, noise(1))
    other = tmp_path / "other_recipe"
    shutil.copytree(recipe / "dump/upstream", other / "dump/upstream")
    (other / "dump/upstream/model.safetensors").write_bytes(b"another recipe's")
    monkeypatch.chdir(other)
    assert espnet_wsm.load("../recipe/exp/en/asr_x")(noise(1)) == expected


def test_an_experiment_outside_the_recipe_finds_its_paths_in_the_working_directory(recipe, tmp_path):
    expected = expected_text(recipe, noise(1))
    shutil.move(recipe / "exp/en/asr_x", tmp_path / "elsewhere")
    assert espnet_wsm.load(tmp_path / "elsewhere")(noise(1)) == expected


@pytest.mark.parametrize("inside", [True, False], ids=["packed in the recipe", "packed from elsewhere"])
@pytest.mark.parametrize("suffix", ["zip", "tar", "tgz"])
def test_an_archive_is_all_it_takes(recipe, tmp_path, monkeypatch, suffix, inside):
    """ESPnet records relative or absolute names, depending on where it packs."""
    expected = expected_text(recipe, noise(1))
    archive = tmp_path / "away" / f"model.{suffix}"
    archive.parent.mkdir()
    monkeypatch.chdir(recipe if inside else archive.parent)
    pack_model(recipe, archive, str(recipe / "dump/upstream"))
    monkeypatch.chdir(archive.parent)
    shutil.rmtree(recipe)
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(scratch))
    transcriber = espnet_wsm.load(archive)
    assert transcriber(noise(1)) == expected
    assert list(scratch.iterdir()) and list(archive.parent.iterdir()) == [archive]
    del transcriber
    gc.collect()
    assert not list(scratch.iterdir())


def test_an_archive_without_its_upstream_finds_it_where_it_was(recipe, monkeypatch):
    expected = expected_text(recipe, noise(1))
    pack_model(recipe, recipe / "exp/model.zip")
    shutil.rmtree(recipe / "exp/en")
    monkeypatch.chdir("/")
    assert espnet_wsm.load(recipe / "exp/model.zip")(noise(1)) == expected


def test_a_sentencepiece_model_is_found_too(training_arguments, recipe, corpus, tmp_path, monkeypatch):
    sentencepiece.SentencePieceTrainer.train(
        input=str(corpus / "text"), model_prefix="dump/bpe", vocab_size=12, minloglevel=2
    )
    shutil.rmtree("exp")
    arguments = training_arguments(recipe / "exp/en/asr_x", encoder_conf=encoder_conf("dump/upstream"))
    asr_train.main([*arguments, "--token_type", "bpe", "--bpemodel", "dump/bpe.model"])
    make_lively(recipe / "exp/en/asr_x")
    expected = expected_text(recipe, noise(1))
    archive = tmp_path / "model.zip"
    pack_model(recipe, archive, "dump/upstream", "dump/bpe.model")
    monkeypatch.chdir("/")
    assert espnet_wsm.load(recipe / "exp/en/asr_x")(noise(1)) == expected
    (recipe / "dump/bpe.model").unlink()
    message = fault_of(recipe / "exp/en/asr_x")
    assert "needs the bpemodel dump/bpe.model" in message and f"\n  {recipe}/dump/bpe.model\n" in message
    shutil.rmtree(recipe)
    assert espnet_wsm.load(archive)(noise(1)) == expected


def test_a_missing_upstream_is_named_with_every_place(recipe, tmp_path, monkeypatch):
    expected = expected_text(recipe, noise(1))
    pack_model(recipe, tmp_path / "model.zip")
    shutil.move(recipe / "dump/upstream", tmp_path / "moved")
    monkeypatch.chdir(tmp_path / "moved")
    for model in (recipe / "exp/en/asr_x", tmp_path / "model.zip"):
        message = fault_of(model)
        assert f"{model} needs the upstream dump/upstream" in message
        assert "upstream= (--upstream NAME_or_PATH)" in message
        above = [model, *model.parents] if model.is_dir() else list(model.parents)
        for folder in (*above, tmp_path / "moved"):
            assert f"\n  {folder / 'dump/upstream'}" in message
        assert ("\n  the archive itself\n" in message) == model.is_file()
        assert espnet_wsm.load(model, upstream="../moved")(noise(1)) == expected
    fault = fault_of(recipe / "exp/en/asr_x", upstream="no/where")
    assert "upstream no/where is neither a file nor a directory" in fault


def test_the_name_of_an_upstream_is_not_looked_for_as_a_path(recipe, monkeypatch):
    from s3prl.util import download

    expected = expected_text(recipe, noise(1))
    monkeypatch.setattr(download, "_download_dir", recipe / "nothing_downloaded")
    config = recipe / "exp/en/asr_x/config.yaml"
    conf = yaml.safe_load(config.read_text())
    conf["encoder_conf"]["upstream"] = "xls_r_300m"
    config.write_text(yaml.safe_dump(conf))
    fault = fault_of("exp/en/asr_x")
    assert "xls_r_300m is not on this machine: run" in fault and "was looked for" not in fault
    assert espnet_wsm.load("exp/en/asr_x", upstream="dump/upstream")(noise(1)) == expected


def test_another_upstream_is_refused(recipe):
    with Path("dump/upstream/config.json").open("a") as file:
        file.write(" ")
    assert "the checkpoint was trained on the upstream" in fault_of("exp/en/asr_x")


def test_the_average_by_the_best_criterion_is_loaded(recipe):
    exp = recipe / "exp/en/asr_x"
    conf = yaml.safe_load((exp / "config.yaml").read_text())
    conf["best_model_criterion"] = [
        ["train", "loss", "min"],
        ["valid", "acc", "max"],
        ["valid", "loss", "min"],
    ]
    (exp / "config.yaml").write_text(yaml.safe_dump(conf))
    expected = expected_text(recipe, noise(1))
    shutil.copy(exp / "1epoch.pth", exp / "train.loss.ave.pth")
    assert espnet_wsm.load(exp)(noise(1)) == expected  # on validation data, and there is one
    shutil.copy(exp / "1epoch.pth", exp / "valid.acc.ave.pth")
    first = espnet_wsm.load(exp)(noise(1))
    assert first == espnet_wsm.load(exp, model_file="1epoch.pth")(noise(1)) != expected
    assert espnet_wsm.load(exp, model_file=f"exp/en/asr_x/{AVERAGE}")(noise(1)) == expected
    assert "9epoch.pth exists neither in" in fault_of(exp, model_file="9epoch.pth")
    for average in exp.glob("*.ave.pth"):
        average.unlink()
    message = fault_of(exp)
    assert "has no valid.acc.ave.pth or valid.loss.ave.pth or train.loss.ave.pth" in message
    assert "finish its training" in message


def test_what_is_no_model_is_refused(recipe, corpus, tmp_path):
    exp = recipe / "exp/en/asr_x"
    assert "does not exist: name an experiment folder" in fault_of("nowhere")
    assert "has no config.yaml" in fault_of(recipe)
    assert "cannot be unpacked" in fault_of(exp / AVERAGE)
    (tmp_path / "broken.zip").write_bytes(b"PK")
    assert "broken.zip cannot be unpacked" in fault_of(tmp_path / "broken.zip")
    pack_model(recipe, tmp_path / "bare.zip", asr_model_file=None)
    assert "was packed without --asr_model_file" in fault_of(tmp_path / "bare.zip")
    conf = yaml.safe_load((exp / "config.yaml").read_text())
    (exp / "config.yaml").write_text(yaml.safe_dump(conf | {"encoder": "conformer"}))
    assert "has the encoder conformer" in fault_of(exp)


def test_a_model_without_ctc_is_refused(training_arguments, recipe):
    exp = recipe / "exp/en/attention"
    asr_train.main(
        training_arguments(
            exp,
            encoder_conf=encoder_conf("dump/upstream"),
            decoder="transformer",
            decoder_conf={"num_blocks": 1, "linear_units": 16},
            model_conf={"ctc_weight": 0.0, "extract_feats_in_collect_stats": False},
        )
    )
    assert "ctc_weight 0: greedy CTC decoding needs a CTC output" in fault_of(exp)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"chunk_seconds": 0.9}, "chunk_seconds is 0.9: give 1 or more"),
        ({"chunk_seconds": float("inf")}, "chunk_seconds is inf"),
        ({"chunk_seconds": float("nan")}, "chunk_seconds is nan"),
        ({"batch_size": 0}, "batch_size is 0"),
    ],
)
def test_bad_options_are_refused_at_once(options, message):
    assert message in fault_of("nowhere", **options)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_gpu_that_is_not_there_is_refused(recipe):
    assert "no CUDA device" in fault_of("exp/en/asr_x", device="cuda")


@pytest.fixture
def transcriber(recipe):
    """The model of the recipe."""
    return espnet_wsm.load("exp/en/asr_x")


def test_waveforms_come_in_many_forms(recipe, transcriber):
    whole = np.rint(noise(1) * 2**15).astype(np.int16)
    samples = whole / np.float32(2**15)
    expected = expected_text(recipe, samples)
    same = [
        samples, whole, whole.astype(np.int32) << 16, samples.astype(np.float64), samples.tolist(),
        samples[:, None], np.stack([samples, samples], 1), np.stack([2 * samples, 0 * samples], 1),
        torch.from_numpy(samples), torch.from_numpy(whole), torch.from_numpy(samples).requires_grad_(),
        np.repeat(samples, 2)[::2],
    ]  # fmt: skip
    for waveform in same:
        assert transcriber(waveform) == expected
    fast = noise(1, 44100)
    assert transcriber(fast, 44100) == transcriber(convert(fast, 44100)) != transcriber(fast)
    assert isinstance(transcriber(samples[:10]), str)  # shorter than a frame


BAD_WAVEFORMS = [
    (np.zeros(0, np.float32), 16000, "the waveform is empty"),
    (np.zeros((0, 2), np.float32), 16000, "the waveform is empty"),
    (np.zeros((1, 2, 3)), 16000, r"has the shape (1, 2, 3): give (N,) or (N, channels)"),
    (np.float32(1), 16000, "has the shape ()"),
    (np.zeros((2, 16000)), 16000, "has the shape (2, 16000): give (N, channels), transposed"),
    (np.outer(np.sin(np.arange(16000)), [0.5, -0.5]), 16000, "the 2 channels of the waveform cancel out"),
    (np.array([0, np.nan]), 16000, "not finite"),
    (np.array([0, -np.inf]), 16000, "not finite"),
    (np.array([0.0, -20000.0]), 16000, "samples up to 20000 where full scale is 1"),
    (np.zeros(9, np.uint8), 16000, "of type uint8"),
    (np.array(["a"]), 16000, "of type <U1"),
    (np.zeros(16000), 0, "sample_rate is 0"),
    (np.zeros(1), 96000, "too short: 1 samples at 96000 Hz"),
]


def test_bad_waveforms_are_refused(transcriber):
    for waveform, rate, message in BAD_WAVEFORMS:
        with pytest.raises(UserError, match=re.escape(message)):
            transcriber(waveform, rate)


def test_audio_that_fits_into_a_chunk_is_one_pass(recipe):
    samples = noise(8.02)  # 400 frames
    assert espnet_wsm.load("exp/en/asr_x", chunk_seconds=8)(samples) == expected_text(recipe, samples)


@pytest.mark.parametrize("batch_size", [1, 3])
def test_the_text_of_a_long_recording_is_that_of_its_chunks_with_a_space_between_them(recipe, batch_size):
    transcriber = espnet_wsm.load("exp/en/asr_x", chunk_seconds=8, batch_size=batch_size)
    decoder, samples = transcriber.decoder, noise(27.3)
    recording = ChunkedRecording(400, 400)
    path: list[int] = []
    for chunk in recording.cut([samples]):
        ids = decoder.best_frames(chunk.samples[None], torch.tensor([len(chunk)]))[0][0].tolist()
        path += [*ids, *ids[-1:]] if not chunk.is_last else ids
    assert len(recording.joints) > 2 and len(path) == (len(samples) - 400) // 320 + 1
    for joint in recording.joints:
        assert path[joint] == path[joint - 1]
    joined = torch.tensor(path)
    transcriber.part(joined, recording.joints)
    expected = decoder.hypothesis(joined, torch.zeros(len(path))).text
    assert len(expected) > 20 and transcriber.transcribe(samples) == expected
    assert transcriber.detailed(samples).text == expected


@pytest.mark.parametrize(
    ("ids", "joints", "expected"),
    [
        ([3, 0, 0, 4], [1], [3, 2, 0, 4]),
        ([3, 2, 0, 4], [2], [3, 2, 0, 4]),  # there is a space before
        ([3, 0, 0, 2, 4], [1], [3, 0, 0, 2, 4]),  # and behind
        ([3, 3, 3, 4], [1], [3, 3, 3, 4]),  # something is said in that frame
        ([0, 0, 0, 4], [1], [0, 0, 0, 4]),  # nothing is said before
        ([3, 0, 0, 0], [1], [3, 0, 0, 0]),  # or behind
        ([3, 0, 0, 4, 0, 0, 0, 3], [1, 5], [3, 2, 0, 4, 0, 2, 0, 3]),
        ([3, 0, 0, 0, 0, 0, 0, 3], [1, 5], [3, 2, 0, 0, 0, 0, 0, 3]),  # two chunks, one of silence
        ([3, 0, 4], [], [3, 0, 4]),
    ],
)
def test_a_space_parts_two_chunks_where_there_is_none(ids, joints, expected):
    transcriber = SimpleNamespace(
        decoder=SimpleNamespace(model=SimpleNamespace(token_list=TOKENS, blank_id=0))
    )
    path = torch.tensor(ids)
    Transcriber.part(transcriber, path, joints)
    assert path.tolist() == expected


def test_live_words_are_those_of_the_recording_if_all_of_it_is_waited_for(recipe):
    transcriber = espnet_wsm.load("exp/en/asr_x")
    live = LiveTranscriber(transcriber, LiveOptions(step=0.3, look_ahead=4, context=10))
    samples = noise(3)
    updates = [live.push(samples[begin : begin + 1000]) for begin in range(0, len(samples), 1000)]
    heard = [word for update in [*updates, live.finish()] if update for word in update.words]
    expected = transcriber.detailed(samples).words
    assert len(expected) > 2 and [word.text for word in heard] == [word.text for word in expected]
    assert [(word.start, word.end) for word in heard] == [(word.start, word.end) for word in expected]
    assert [word.confidence for word in heard] == pytest.approx([word.confidence for word in expected])


def test_a_causal_model_computes_each_frame_above_the_cut_once(training_arguments, recipe):
    conf = encoder_conf("dump/upstream") | {"causal": True}
    asr_train.main(training_arguments(recipe / "exp/en/causal", encoder_conf=conf))
    make_lively(recipe / "exp/en/causal")
    transcriber = espnet_wsm.load("exp/en/causal")
    decoder, samples = transcriber.decoder, noise(3)
    speech = torch.from_numpy(samples)[None]
    ids, _, confidences, _ = decoder.rated_frames(speech, torch.tensor([len(samples)]))
    stream, found = decoder.open_stream(), ([], [])
    hidden = stream.find_hidden(speech)
    for begin in range(0, hidden.size(1), 7):
        pushed = stream.push(hidden[:, begin : begin + 7], begin + 7 >= hidden.size(1))
        found = tuple(old + new for old, new in zip(found, pushed, strict=True))
    assert len(set(found[0])) > 2 and found[0] == ids[0].tolist()
    assert found[1] == pytest.approx(confidences[0].tolist(), abs=1e-3)
    frames = []
    live = LiveTranscriber(transcriber, LiveOptions(step=0.3, look_ahead=0.4, context=1))
    suffix = live._stream.suffix.push

    def count_frames(hidden: torch.Tensor, last: bool) -> torch.Tensor:
        frames.append(hidden.size(1))
        return suffix(hidden, last)

    live._stream.suffix.push = count_frames
    updates = [live.push(samples[begin : begin + 1000]) for begin in range(0, len(samples), 1000)]
    updates.append(live.finish())
    assert sum(frames) == len(found[0]) and len(frames) > 8
    assert [word for update in updates if update for word in update.words]
    assert not any(update.tail for update in updates if update)
    assert espnet_wsm.load("exp/en/asr_x").decoder.open_stream() is None  # not causal


def watch_batches(monkeypatch, transcriber) -> list[list[int]]:
    """The lengths of the chunks of each batch, as they come."""
    seen, best_frames = [], transcriber.decoder.best_frames

    def watch(speech: torch.Tensor, lengths: torch.Tensor) -> tuple[torch.Tensor, ...]:
        seen.append(lengths.tolist())
        return best_frames(speech, lengths)

    monkeypatch.setattr(transcriber.decoder, "best_frames", watch)
    return seen


def test_many_recordings_share_batches_and_keep_their_order_and_texts(recipe, monkeypatch):
    transcriber = espnet_wsm.load("exp/en/asr_x", chunk_seconds=8, batch_size=2)
    recordings = [noise(seconds) for seconds in (3, 0.9, 12, 1.5, 0.01, 2, 0.8, 5, 8.5, 1)]
    expected = [transcriber.transcribe(samples) for samples in recordings]
    seen = watch_batches(monkeypatch, transcriber)
    assert list(transcriber.transcribe_all(recordings)) == expected and len(set(expected)) > 8
    assert all(max(batch) * len(batch) <= transcriber.batch_samples for batch in seen)
    assert all(max(batch) * len(batch) * 0.85 <= sum(batch) for batch in seen)
    assert [len(batch) for batch in seen] == [1, 3, 2, 3, 2, 1]  # two recordings are of two chunks
    lengths = [length for batch in seen for length in batch]
    assert lengths == sorted(lengths)


def test_recordings_are_read_when_they_are_needed(recipe, monkeypatch):
    transcriber = espnet_wsm.load("exp/en/asr_x", chunk_seconds=8, batch_size=1)
    read = []

    def recordings() -> Iterator[np.ndarray]:
        for number in range(12):
            read.append(number)
            yield noise(8.01)

    texts = transcriber.transcribe_all(recordings())
    next(texts)
    assert len(read) == 4
    assert len(list(texts)) == 11 and len(read) == 12
    monkeypatch.setattr("espnet_wsm.recognition.transcriber.MOST_AHEAD", 3)
    read.clear()
    next(transcriber.transcribe_all(recordings()))
    assert len(read) == 3


@pytest.mark.parametrize("rate", [8000, 44100, 96000])
def test_a_file_that_is_streamed_gives_the_words_and_times_of_one_read_whole(recipe, tmp_path, rate):
    transcriber = espnet_wsm.load("exp/en/asr_x", chunk_seconds=8, batch_size=2)
    soundfile.write(tmp_path / "a.wav", np.stack([noise(27.3, rate), 0.1 * noise(27.3, rate)], 1), rate)
    whole = read_recording(tmp_path / "a.wav").samples
    expected = transcriber.detailed(whole, rate)
    assert expected.duration == 27.3 and expected.words[-1].end > 26
    for seconds in (0.37, 10):
        stream = stream_converted(tmp_path / "a.wav", block_seconds=seconds)
        assert list(transcriber.detail_all([stream])) == [expected]
    found, seconds = transcriber.log_probs(stream_converted(tmp_path / "a.wav"))
    assert torch.equal(found, transcriber.log_probs(convert(whole.mean(axis=1), rate))[0]) and seconds == 27.3


@pytest.mark.parametrize("lengths", [[240], [1] * 240, [100, 0, 3, 137]])
def test_what_is_read_ahead_is_bounded_by_seconds(recipe, lengths):
    """Of one long recording as of many short ones: four batches of 8 s, and what cutting a chunk needs."""
    transcriber = espnet_wsm.load("exp/en/asr_x", chunk_seconds=8, batch_size=1)
    read, done, ahead = [0], [0.0], [0.0]

    def blocks(seconds: int) -> Iterator[np.ndarray]:
        for _ in range(seconds):
            read[0] += 1
            ahead.append(read[0] - done[0])
            yield noise(1)

    def advance(seconds: float) -> None:
        done[0] += seconds

    texts = list(transcriber.transcribe_all(map(blocks, lengths), advance))
    assert [not text for text in texts] == [not seconds for seconds in lengths]
    assert done[0] == pytest.approx(240) and 16 <= max(ahead) <= 4 * 8 + 12 + 1


def test_a_model_that_sees_padding_gets_none(training_arguments, recipe, monkeypatch):
    conf = encoder_conf("dump/upstream") | {"exact_padding": False}
    asr_train.main(training_arguments(recipe / "exp/en/padded", encoder_conf=conf))
    transcriber = espnet_wsm.load("exp/en/padded")
    seen = watch_batches(monkeypatch, transcriber)
    assert len(list(transcriber.transcribe_all([noise(1), noise(0.5), noise(1)]))) == 3
    assert seen == [[8000], [16000, 16000]]


def test_importing_the_package_does_not_import_torch():
    code = "import sys, espnet_wsm; print(espnet_wsm.load.__name__, 'torch' in sys.modules)"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.split() == ["load", "False"]


def run_command(*arguments: str | Path) -> int:
    with pytest.raises(SystemExit) as exit_:
        transcribe.main([*map(str, arguments)])
    return exit_.value.code


def test_the_command_reads_any_format_rate_and_channel_count(recipe, transcriber, tmp_path, capsys):
    files = [tmp_path / "speech.wav", tmp_path / "speech.flac", tmp_path / "speech.mp3", tmp_path / "a.ogg"]
    lines = ""
    for file, rate, channels in zip(files, (44100, 16000, 44100, 8000), (2, 1, 2, 3), strict=True):
        soundfile.write(file, np.stack([noise(1, rate)] * channels, 1), rate)
        samples, _ = soundfile.read(file, dtype="float32")
        lines += f"{file}\t{transcriber(samples, rate)}\n"
    capsys.readouterr()
    assert run_command("--model", "exp/en/asr_x", *files) == 0
    captured = capsys.readouterr()
    assert captured.out == lines and "0.1/0.1 min of audio" in captured.err and "4/4 files" in captured.err
    assert run_command("--model", "exp/en/asr_x", "--out", "texts.tsv", *files) == 0
    assert Path("texts.tsv").read_text() == lines and not capsys.readouterr().out
    sides = np.stack([-noise(1), noise(1)], axis=1)
    soundfile.write(files[1], sides, 16000)
    assert run_command("--model", "exp/en/asr_x", files[1]) == 1
    assert "error: the 2 channels of " in capsys.readouterr().err
    assert run_command("--model", "exp/en/asr_x", "--channel", "2", files[1]) == 0
    assert capsys.readouterr().out == f"{files[1]}\t{transcriber(soundfile.read(files[1])[0][:, 1])}\n"


def test_several_processes_print_what_one_does(recipe, corpus, tmp_path, capsys):
    files = [corpus / "u3.flac", tmp_path / "no.wav", corpus / "u1.flac", corpus / "u2.flac"]
    command = ["--model", "exp/en/asr_x", "--dtype", "float32", *files]
    assert run_command(*command) == 1
    one = capsys.readouterr()
    assert run_command(*command, "--jobs", "2") == 1
    several = capsys.readouterr()
    assert several.out == one.out and one.out.count("\n") == 3
    messages = [[line for line in said.splitlines() if "error: " in line] for said in (one.err, several.err)]
    assert messages[0] == messages[1] and "no.wav does not exist" in messages[0][0]


def test_very_little_and_nothing_at_all(recipe, tmp_path, capsys):
    files = [tmp_path / name for name in ("one.wav", "silence.flac", "none.wav", "nan.wav", "fast.wav")]
    soundfile.write(files[0], np.zeros(1), 16000)
    soundfile.write(files[1], np.zeros(16000), 16000)
    soundfile.write(files[2], np.zeros(0), 16000)
    soundfile.write(files[3], np.array([0, np.nan]), 16000, subtype="FLOAT")
    soundfile.write(files[4], np.zeros(1), 96000)
    os.mkfifo(tmp_path / "fifo")
    assert run_command("--model", "exp/en/asr_x", *files, tmp_path / "fifo") == 1
    printed, said = capsys.readouterr()
    assert [line.split("\t")[0] for line in printed.splitlines()] == [str(files[0]), str(files[1])]
    errors = [line.partition("error: ")[2] for line in said.splitlines() if "error: " in line]
    for error, (file, message) in zip(errors, (
        (files[2], "has zero samples"), (files[3], "has 1 samples that are not finite"),
        (files[4], "has zero samples"), (tmp_path / "fifo", "is not a file: name the audio file itself"),
    ), strict=True):  # fmt: skip
        assert error.startswith(f"{file} {message}")


def test_the_command_writes_files_with_times(recipe, corpus, tmp_path, capsys):
    talks = tmp_path / "talks"
    talks.mkdir()
    for name in ("u1", "u2"):
        shutil.copy(corpus / f"{name}.flac", talks)
    (talks / "bad.wav").write_bytes(b"RIFF")
    command = ["--model", "exp/en/asr_x", str(talks), "--format", "json", "srt", "--out_dir", "out/put"]
    with pytest.raises(SystemExit) as exit_:
        transcribe.main(command)
    printed, said = capsys.readouterr()
    assert exit_.value.code == 1 and printed == "" and "bad.wav" in said
    written = sorted(path.name for path in Path("out/put").iterdir())
    assert written == ["u1.json", "u1.srt", "u2.json", "u2.srt"]
    recording = read_annotations("out/put/u1.json")
    details = espnet_wsm.load("exp/en/asr_x").detailed(read_recording(corpus / "u1.flac").samples[:, 0])
    assert recording.audio == "u1.flac" and recording.duration == details.duration
    (tier,) = recording.tiers
    found = [(word.text, word.start, word.end) for segment in tier.segments for word in segment.words]
    assert found == [(word.text, word.start, word.end) for word in details.words]
    (talks / "bad.wav").unlink()
    (Path("out/put") / "u2.srt").write_text("mine")
    with pytest.raises(SystemExit):
        transcribe.main(command)
    assert "u1.json is there already" in capsys.readouterr().err
    Path("out/put/u1.srt").unlink()
    with pytest.raises(SystemExit) as exit_:
        transcribe.main([*command, "--skip_existing"])
    assert exit_.value.code == 0 and Path("out/put/u2.srt").read_text() == "mine"
    assert Path("out/put/u1.srt").read_text().startswith("1\n00:00:0")
    transcribe.main([*command, "--skip_existing"])
    assert "are there" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--skip_existing"], "--skip_existing is for files with times"),
        (["--out_dir", "x"], "--out_dir is for files with times"),
        (["--format", "srt", "--out", "x.tsv"], "--out takes texts without times"),
        (["--format", "srt", "--pause", "-1"], "--pause -1: give seconds"),
        (
            ["--format", "srt", "--out_dir", "exp/en/asr_x/config.yaml"],
            "config.yaml is a file: name a folder",
        ),
    ],
)
def test_options_that_do_not_fit_together_are_refused(recipe, capsys, options, message):
    with pytest.raises(SystemExit):
        transcribe.main(["--model", "exp/en/asr_x", "a.wav", *options])
    assert message in capsys.readouterr().err


def test_a_known_text_gets_times_and_files(recipe, corpus, tmp_path, capsys):
    samples = noise(12)
    soundfile.write(tmp_path / "talk.wav", samples, 16000)
    heard = espnet_wsm.load("exp/en/asr_x", chunk_seconds=8)(samples)
    text = "".join(letter for letter in heard.replace("<unk>", "").replace("<sos/eos>", ""))
    lines = [text[:9].lower(), "", f"{text[9:30]} é"]
    (tmp_path / "talk.txt").write_text("\n".join(lines), encoding="utf-8-sig")
    command = ["--model", "exp/en/asr_x", str(tmp_path / "talk.wav"), "--text", str(tmp_path / "talk.txt")]
    command += ["--chunk_seconds", "8"]
    align.main(command)
    printed, said = capsys.readouterr()
    rows = [line.split("\t") for line in printed.splitlines()]
    assert [row[3] for row in rows] == " ".join(lines).split()
    assert all(0 <= float(row[0]) <= float(row[1]) <= 12 for row in rows) and rows[-1][2] == ""
    assert "aligned around what the model has no tokens for: é (1)" in said
    align.main([*command, "--format", "textgrid", "--out_dir", str(tmp_path / "out")])
    (utterances, *_) = read_annotations(tmp_path / "out/talk.TextGrid").tiers
    expected = [" ".join(line.split()) for line in lines if line]
    assert [segment.text for segment in utterances.segments] == expected
    (tmp_path / "long.txt").write_text("A B C " * 200)
    for arguments, message in (
        ([*command, "--format", "textgrid", "--out_dir", str(tmp_path / "out")], "is there already"),
        ([*command[:-4], "--text", str(tmp_path / "no.txt")], "cannot be read as UTF-8 text"),
        ([*command[:-4], "--text", str(tmp_path / "long.txt")], "is not the text of this audio"),
    ):
        with pytest.raises(SystemExit):
            align.main(arguments)
        assert message in capsys.readouterr().err


def test_the_command_goes_on_after_a_bad_file_and_names_it(recipe, corpus, tmp_path, capsys):
    (tmp_path / "noise.wav").write_bytes(b"RIFF")
    text = corpus / "tokens.txt"
    files = [corpus / "nowhere.wav", corpus / "u1.flac", tmp_path / "noise.wav", text, corpus / "u2.flac"]
    assert run_command("--model", "exp/en/asr_x", *files) == 1
    captured = capsys.readouterr()
    assert [line.split("\t")[0] for line in captured.out.splitlines()] == [str(files[1]), str(files[4])]
    errors = [line for line in captured.err.splitlines() if line.startswith("error: ")]
    assert [error.split()[1] for error in errors] == [str(files[i]) for i in (0, 2, 3)]


def test_the_command_passes_its_options_on(recipe, corpus, tmp_path, capsys):
    shutil.move("dump/upstream", tmp_path / "moved")
    soundfile.write(corpus / "long.wav", noise(20), 16000)
    arguments = ["--model", "exp/en/asr_x", corpus / "long.wav", "--model_file", "1epoch.pth"]
    assert run_command(*arguments) == 1
    assert "error: " in capsys.readouterr().err
    arguments += ["--upstream", tmp_path / "moved", "--chunk_seconds", "8", "--batch_size", "1"]
    assert run_command(*arguments) == 0
    captured = capsys.readouterr()
    assert captured.out.startswith(f"{corpus / 'long.wav'}\t")
    assert "min of audio" not in captured.err  # no bar for one short file


def test_the_command_does_not_write_over_audio(recipe, corpus, capsys):
    before = (corpus / "u1.flac").read_bytes()
    assert run_command("--model", "exp/en/asr_x", "--out", corpus / "u1.flac", corpus / "u2.flac") == 1
    assert "would be overwritten" in capsys.readouterr().err
    assert (corpus / "u1.flac").read_bytes() == before
    assert run_command("--model", "exp/en/asr_x", "--out", "no/folder", corpus / "u2.flac") == 1
    assert "--out no/folder cannot be written" in capsys.readouterr().err


def test_a_file_name_that_would_break_the_output_is_refused(recipe, corpus, capsys):
    names = ["tab\tulator.flac", "line\nend.flac", b"caf\xe9.flac".decode(errors="surrogateescape")]
    for name in names:
        shutil.copy(corpus / "u1.flac", name)
    assert run_command("--model", "exp/en/asr_x", *names, corpus / "u2.flac") == 1
    captured = capsys.readouterr()
    assert captured.out.count("\n") == 1
    for name in names:
        assert f"error: {name!a} is not a name that can be printed as text" in captured.err


def test_the_help_shows_an_example_without_importing_torch():
    code = (
        "import sys; from espnet_wsm.bin import transcribe; print('torch' in sys.modules); transcribe.main()"
    )
    command = [sys.executable, "-c", code, "--help"]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    assert result.stdout.startswith("False") and "Examples:\n  espnet-wsm transcribe" in result.stdout


def test_long_audio_goes_through_an_upstream_with_frames_of_its_own(
    training_arguments, tmp_path, monkeypatch
):
    """wav2vec2-BERT's first frame sees 560 samples, not 400."""
    path = CHECKPOINTS["hf_wav2vec2_bert", "layer norm"](tmp_path / "bert")
    exp = tmp_path / "exp/asr_bert"
    asr_train.main(training_arguments(exp, encoder_conf=encoder_conf(str(path))))
    transcriber = espnet_wsm.load(exp, device="cpu", chunk_seconds=8)
    seen = []
    best_frames = transcriber.decoder.best_frames
    monkeypatch.setattr(
        transcriber.decoder, "best_frames", lambda *batch: seen.append(batch[0].shape) or best_frames(*batch)
    )
    assert isinstance(transcriber(noise(21.3)), str)
    assert sum(batch for batch, _ in seen) > 2


def test_whoever_trained_a_model_does_not_decide_that_its_upstream_may_run_code(recipe):
    """A configuration from elsewhere says trust: true; the file asks for it all the same."""
    config = recipe / "exp/en/asr_x/config.yaml"
    conf = yaml.safe_load(config.read_text())
    path = Path(CHECKPOINTS["wav2vec2", "pre-norm, layer norm"](recipe / "native"))
    torch.save(torch.load(path) | {"args": argparse.Namespace(lr=1.0)}, path)
    conf["encoder_conf"] |= {"upstream": str(path), "trust": True}
    config.write_text(yaml.safe_dump(conf))
    with pytest.raises(UserError, match="can run code when it is loaded"):
        espnet_wsm.load("exp/en/asr_x", device="cpu")
    with pytest.raises(UserError, match="was trained on the upstream"):  # opened, and another one
        espnet_wsm.load("exp/en/asr_x", device="cpu", trust=True)


def test_a_configuration_of_before_names_its_upstream_in_path(recipe):
    config = recipe / "exp/en/asr_x/config.yaml"
    conf = yaml.safe_load(config.read_text())
    conf["encoder_conf"] |= {"path": conf["encoder_conf"]["upstream"], "upstream": "hf_hubert_custom"}
    config.write_text(yaml.safe_dump(conf))
    assert isinstance(espnet_wsm.load("exp/en/asr_x", device="cpu")(noise(1)), str)
