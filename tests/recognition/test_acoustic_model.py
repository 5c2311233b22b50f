"""A model that is loaded for decoding alone: the numbers are those of the model that ESPnet builds."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch
import yaml
from checkpoints import write_whisper
from espnet2.tasks.asr import ASRTask

from espnet_wsm.bin import asr_train
from espnet_wsm.errors import UserError
from espnet_wsm.plugin.acoustic_model import AcousticModel
from espnet_wsm.recognition import acoustic_model
from espnet_wsm.recognition.acoustic_model import build_tokenizer, load_model
from espnet_wsm.recognition.greedy import GreedyCtcDecoder

AVERAGE = "valid.loss.ave.pth"
HYBRID = {
    "decoder": "transformer",
    "decoder_conf": {"num_blocks": 1, "linear_units": 16},
    "model_conf": {"ctc_weight": 0.3, "extract_feats_in_collect_stats": False},
}


@pytest.fixture(scope="module")
def trained() -> dict[str, Path]:
    """The experiments that tests share, made by the first that needs one."""
    return {}


@pytest.fixture(params=["CTC", "hybrid"])
def exp(request, trained, training_arguments, upstream_path, tmp_path_factory) -> Path:
    if request.param not in trained:
        out = tmp_path_factory.mktemp(request.param) / "asr_x"
        conf = {"upstream": upstream_path("hf_hubert", False), "window": 3, "width": 16}
        more = HYBRID if request.param == "hybrid" else {}
        asr_train.main(training_arguments(out, encoder_conf=conf, **more))
        trained[request.param] = out
    return trained[request.param]


def draw() -> tuple[torch.Tensor, torch.Tensor]:
    lengths = torch.tensor([16000, 9000, 350])
    speech = 0.1 * torch.randn(3, 16100, generator=torch.Generator().manual_seed(1))
    return speech * (torch.arange(16100) < lengths[:, None]), lengths


def test_log_probabilities_and_texts_are_those_of_espnets_model(exp, monkeypatch):
    files = (exp / "config.yaml", exp / AVERAGE)
    decoder = GreedyCtcDecoder(*files)
    assert isinstance(decoder.model, AcousticModel) and not decoder.model.training
    monkeypatch.setattr(acoustic_model, "fits", lambda conf: False)
    other = GreedyCtcDecoder(*files)
    assert type(other.model).__name__ == "WsmASRModel"
    assert (
        other.model.blank_id == decoder.model.blank_id and other.model.token_list == decoder.model.token_list
    )
    (found, counts), (expected, expected_counts) = decoder.log_probs(*draw()), other.log_probs(*draw())
    assert torch.equal(found, expected) and counts.tolist() == expected_counts.tolist()
    assert decoder(*draw()) == other(*draw())
    expected, _ = ASRTask.build_model_from_file(*files)
    own = decoder.model.state_dict()
    assert own.keys() == {name for name in expected.state_dict() if not name.startswith("decoder.")}
    assert all(torch.equal(own[name], expected.state_dict()[name]) for name in own)


@pytest.mark.parametrize(
    "change",
    [
        {"encoder": "conformer"}, {"frontend": "default"}, {"normalize": "utterance_mvn"},
        {"use_adapter": True}, {"preencoder": "linear"}, {"postencoder": "x"}, {"input_size": None},
        {"token_list": "tokens.txt"}, {"model": "pit_espnet"}, {"decoder": "transducer"},
        {"aux_ctc_tasks": ["phn"]}, {"model_conf": {"transducer_multi_blank_durations": [2]}},
    ],
    ids=lambda change: next(iter(change)),
)  # fmt: skip
def test_every_other_model_is_left_to_espnet(change):
    conf = {"encoder": "wsm_s3prl", "input_size": 1, "token_list": ["<blank>", "a"], "model_conf": {}}
    assert acoustic_model.fits(conf) and not acoustic_model.fits(conf | change)


@pytest.mark.parametrize("change", ["missing", "surplus"])
def test_a_checkpoint_of_another_model_is_refused(exp, tmp_path, change):
    state = torch.load(exp / AVERAGE)
    if change == "missing":
        del state["ctc.ctc_lo.bias"]
    else:
        state["joint_network.weight"] = torch.zeros(1)
    torch.save(state, tmp_path / "x.pth")
    with pytest.raises(
        UserError, match=r"x\.pth does not fit its config\.yaml: .*(ctc_lo.bias|joint_network)"
    ):
        load_model(exp / "config.yaml", tmp_path / "x.pth")


def test_precision_is_chosen_when_it_is_loaded(exp, monkeypatch):
    files = (exp / "config.yaml", exp / AVERAGE)
    exact, _ = GreedyCtcDecoder(*files).log_probs(*draw())  # as it was trained
    found, _ = GreedyCtcDecoder(*files, dtype="float32").log_probs(*draw())
    torch.testing.assert_close(found, exact, atol=1e-4, rtol=0)
    for dtype in ("bfloat16", "float16"):
        decoder = GreedyCtcDecoder(*files, dtype=dtype)
        assert decoder.model.encoder.prefix.dtype == getattr(torch, dtype)
        found, _ = decoder.log_probs(*draw())
        assert found.dtype == torch.float32
        assert 0 < (found - exact).norm() < 0.1 * exact.norm()
    for fast in ("bfloat16", "float32"):
        monkeypatch.setattr(acoustic_model, "choose_dtype", lambda dtype, device, fast=fast: fast)
        assert load_model(*files, dtype="auto")[0].encoder.suffix_dtype == fast
    with pytest.raises(UserError, match="dtype is 'half': give one of trained, auto, float32"):
        load_model(*files, dtype="half")
    monkeypatch.setattr(acoustic_model, "fits", lambda conf: False)
    with pytest.raises(UserError, match=r"dtype is float32, but .* leave dtype out"):
        load_model(*files, dtype="float32")


def test_tokenizers_are_those_of_espnet(tmp_path):
    from espnet2.text import build_tokenizer as espnets

    for kind, model in (("char", None), ("bpe", str(tmp_path / "bpe.model")), ("word", None)):
        own, theirs = build_tokenizer(kind, model), espnets.build_tokenizer(kind, model)
        assert type(own) is type(theirs) and vars(own) == vars(theirs)


def test_a_whisper_model_is_loaded_without_what_takes_seconds(training_arguments, tmp_path):
    conf = {"upstream": str(write_whisper(tmp_path / "whisper")), "window": 3, "width": 16}
    exp = tmp_path / "asr_whisper"
    asr_train.main(training_arguments(exp, encoder_conf=conf))
    heavy = ["espnet2.tasks.asr", "transformers", "s3prl.hub", "torch._dynamo", "scipy", "librosa", "sympy"]
    code = (
        f"import sys, numpy, espnet_wsm; espnet_wsm.load({str(exp)!r}, device='cpu')(numpy.ones(16000) / 9); "
        f"print([name for name in {heavy} if name in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"
    assert yaml.safe_load((exp / "config.yaml").read_text())["encoder_conf"]["upstream"] == conf["upstream"]
