"""Whisper behind ESPnet: training, the limit of 30 s, and recordings that are longer."""

from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from checkpoints import CHECKPOINTS, write_whisper

import espnet_wsm
from espnet_wsm.bin import asr_inference_greedy, asr_train
from espnet_wsm.errors import UserError
from espnet_wsm.plugin.encoder import WsmS3prlEncoder
from espnet_wsm.stages import limit_duration

AVERAGE = "valid.loss.ave.pth"


def noise(seconds: float) -> np.ndarray:
    return (0.1 * np.random.default_rng(5).standard_normal(int(seconds * 16000))).astype(np.float32)


@pytest.fixture(scope="module")
def upstream(tmp_path_factory) -> str:
    return str(write_whisper(tmp_path_factory.mktemp("whisper") / "tiny"))


@pytest.fixture
def trained(training_arguments, upstream, tmp_path) -> Path:
    exp = tmp_path / "exp/asr_whisper"
    asr_train.main(training_arguments(exp, encoder_conf={"upstream": upstream, "window": 3, "width": 16}))
    return exp


def test_a_trained_model_takes_any_length_and_thirty_seconds_at_once(trained, tmp_path, monkeypatch, caplog):
    transcribe = espnet_wsm.load(trained, device="cpu")
    seen, best_frames = [], transcribe.decoder.best_frames
    monkeypatch.setattr(
        transcribe.decoder, "best_frames", lambda *batch: seen.append(batch[0].shape) or best_frames(*batch)
    )
    for seconds in (30, 30.005, 31):
        assert isinstance(transcribe(noise(seconds)), str)
    whole, still_whole, *cut = seen
    assert (whole, still_whole) == ((1, 480_000), (1, 480_080))
    assert all(count * longest <= 4 * 480_000 and longest <= 160_000 for count, longest in cut)
    assert sum(count for count, _ in cut) in range(4, 7)  # 31 s in chunks of 5 to 10 s
    assert isinstance(transcribe(np.zeros(1, np.float32)), str)

    soundfile.write(tmp_path / "long.flac", noise(30.02), 16000)
    (tmp_path / "long.scp").write_text(f"u1 {tmp_path}/u1.flac\nu9 {tmp_path}/long.flac\n")
    words = ["--data_path_and_name_and_type", f"{tmp_path}/long.scp,speech,sound"]
    words += ["--asr_train_config", f"{trained}/config.yaml", "--asr_model_file", f"{trained}/{AVERAGE}"]
    asr_inference_greedy.main(["--output_dir", str(tmp_path / "decoded"), *words])
    decoded = (tmp_path / "decoded/1best_recog/text").read_text().splitlines()
    assert [line.split()[0] for line in decoded] == ["u1", "u9"]
    assert "an utterance of 30.02 s is longer than the 30 s that the upstream takes" in caplog.text

    with pytest.raises(UserError, match="chunk_seconds is 40: give 30 or less"):
        espnet_wsm.load(trained, device="cpu", chunk_seconds=40)


def test_one_sample_is_one_frame(upstream):
    encoder = WsmS3prlEncoder(1, upstream=upstream).eval()
    for audio in (torch.ones(1, 1), torch.zeros(1, 4000)):
        out, lengths, _ = encoder(audio, torch.tensor([1]))
        assert lengths.tolist() == [1] and out.isfinite().all()


@pytest.mark.parametrize(
    ("family", "given", "printed"),
    [("whisper", "40.5", "30"), ("whisper", "20", "20"), ("hubert", "40.5", "40.5")],
)
def test_what_is_trained_on_is_limited_to_what_the_upstream_takes(
    upstream, tmp_path, capsys, family, given, printed
):
    if family != "whisper":
        upstream = str(CHECKPOINTS["hf_hubert", "pre-norm, layer norm"](tmp_path / "hubert"))
    training = ["--encoder", "wsm_s3prl", "--encoder_conf", f"upstream={upstream}"]
    limit_duration.main(["--max_seconds", given, "--", *training])
    captured = capsys.readouterr()
    assert captured.out == f"{printed}\n"
    assert ("takes 30 s at most" in captured.err) == (given != printed)


def test_another_encoder_has_no_limit(capsys):
    limit_duration.main(["--max_seconds", "40", "--", "--encoder", "conformer"])
    assert capsys.readouterr().out == "40\n"
