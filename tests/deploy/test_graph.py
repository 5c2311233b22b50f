"""The graph of any upstream with any mixer: onnxruntime gives PyTorch's log probabilities."""

import logging

import numpy as np
import pytest
import torch
from checkpoints import CHECKPOINTS, POST_NORM, PRE_NORM
from espnet2.asr.ctc import CTC

from espnet_wsm.deploy.export import open_session, write_graph
from espnet_wsm.deploy.graph import OneRecording, ignores_level
from espnet_wsm.plugin.acoustic_model import AcousticModel
from espnet_wsm.plugin.encoder import WsmS3prlEncoder
from espnet_wsm.upstream import load_upstream

TOKENS = ["<blank>", *"abcdefg", "<sos/eos>"]
BESIDE = [[-3, 3], [6, 21], [-15, -4], [0, 9]]  # windows of four heads
# Every class of layers and every mixer; each of what differs below the layers: norms, positions, log-mel.
GRAPHS = {
    ("wav2vec2", POST_NORM): {"mixer": "wsm", "window": [2, 40], "width": 16},
    ("hubert", POST_NORM): {"mixer": "wsm", "causal": True, "window": [2, 40], "width": 16},
    ("hubert", PRE_NORM): {"mixer": "attention", "features": "weighted_sum"},
    ("data2vec", "post-norm, layer norm"): {"mixer": "sm", "width": 16},
    ("distiller", POST_NORM): {"mixer": "drop"},
    ("wavlm", POST_NORM): {"mixer": "gc_lora"},
    ("hf_wavlm", PRE_NORM): {"mixer": "random_attention", "num_replaced": 3},
    ("espnet_hubert", PRE_NORM): {"mixer": "local", "window": 3, "width": 16},
    ("hf_hubert", PRE_NORM): {"mixer": "kv_pool"},
    ("hf_hubert", POST_NORM): {
        "mixer": "wsm",
        "num_replaced": 3,
        "interctc_layer_idx": [2],
        "interctc_use_conditioning": True,
    },
    ("hf_wav2vec2", POST_NORM): {"mixer": "lora", "prefix_dtype": "float16"},
    ("whisper", "pre-norm, on log-mel"): {"mixer": "wsm_heads", "windows": BESIDE, "key_weights": True},
}
LENGTHS = (400, 4321, 48160, 80000)  # samples: of one frame, few, and more than the graph was traced with


@pytest.fixture(scope="module", autouse=True)
def quiet():
    logging.disable(logging.WARNING)
    yield
    logging.disable(logging.NOTSET)


def make_encoder(path, conf) -> WsmS3prlEncoder:
    torch.manual_seed(3)
    encoder = WsmS3prlEncoder(1, upstream=str(path), trust=True, **conf).eval()
    with torch.no_grad():  # what starts at zero would hide a wrong graph
        for parameter in encoder.suffix.parameters():
            if not parameter.any():
                parameter.normal_(0, 0.1)
    return encoder


@pytest.mark.slow
@pytest.mark.parametrize(("key", "conf"), GRAPHS.items(), ids=lambda value: str(value)[:40])
def test_onnxruntime_computes_what_pytorch_computes(key, conf, tmp_path):
    path = CHECKPOINTS[key](tmp_path / "upstream")
    encoder = make_encoder(path, conf)
    model = AcousticModel(encoder, CTC(len(TOKENS), encoder.output_size()), TOKENS)
    speech = [0.1 * torch.randn(1, n, generator=torch.Generator().manual_seed(n)) for n in LENGTHS]
    with torch.inference_mode():
        trained = [
            model.ctc.log_softmax(model.encode(each, torch.tensor([each.size(1)]))[0]) for each in speech
        ]
    graph = OneRecording(model)
    write_graph(graph, tmp_path / "model.onnx")
    session = open_session(tmp_path / "model.onnx")
    (given,), (made,) = session.get_inputs(), session.get_outputs()
    assert (given.name, given.shape) == ("samples", [1, "num_samples"])
    assert (made.name, made.shape) == ("log_probs", [1, "num_frames", len(TOKENS)])
    exact = 3e-4 if key[0] == "whisper" else 2e-5
    # The graph is in float32; only a prefix that was trained in half precision rounds otherwise.
    trained_precision = 0.1 if "prefix_dtype" in conf else exact
    for each, expected in zip(speech, trained, strict=True):
        (found,) = session.run(None, {"samples": each.numpy()})
        with torch.inference_mode():
            alone = graph(each).numpy()
        np.testing.assert_allclose(found, alone, rtol=0, atol=exact)
        np.testing.assert_allclose(found, expected.numpy(), rtol=0, atol=trained_precision)


@pytest.mark.parametrize(
    ("key", "same"),
    [
        (("wav2vec2", POST_NORM), True),  # a norm over time takes out level and zero line
        (("hf_hubert", POST_NORM), True),
        (("hf_hubert", PRE_NORM), True),  # normalises the samples
        (("whisper", "pre-norm, on log-mel"), False),
    ],
)
def test_whether_an_upstream_hears_the_level_is_what_it_does(key, same, tmp_path):
    expert, checkpoint = load_upstream(str(CHECKPOINTS[key](tmp_path / "upstream")))
    samples = torch.randn(16000, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        hidden, _ = checkpoint.family.encode(expert, [samples])
        other, _ = checkpoint.family.encode(expert, [3 * samples + 0.5])
    assert ignores_level(checkpoint.family, expert) is same
    assert (float((hidden - other).abs().max()) < 1e-3) is same
