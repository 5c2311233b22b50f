"""A trained model through the command, in onnxruntime by its README's own code, and in sherpa-onnx."""

import re

import numpy as np
import pytest
import soundfile
import torch
from checkpoints import CHECKPOINTS
from tiny_training import TOKENS, encoder_conf, noise

import espnet_wsm
from espnet_wsm.bin import asr_train, export_onnx
from espnet_wsm.deploy.tokens import find_silent, format_tokens, rename_tokens
from espnet_wsm.errors import UserError
from espnet_wsm.files import digest_file

RATE = 16000


def run(*args) -> None:
    export_onnx.main([str(arg) for arg in args])


def fault_of(capsys) -> str:
    return capsys.readouterr().err.strip().splitlines()[-1]


@pytest.fixture
def recording(tmp_path):
    soundfile.write(tmp_path / "recording.wav", noise(2.3), RATE, subtype="FLOAT")
    return tmp_path / "recording.wav"


@pytest.mark.slow
def test_the_readmes_code_gives_the_text_of_transcribe(exp, recording, tmp_path, monkeypatch, capsys):
    run("--model", exp, "--out", tmp_path / "out", "--int8")
    printed = capsys.readouterr().out
    assert "model.int8.onnx" in printed and re.search(r"differ by at most \d\.\de-0\d in log", printed)
    out = tmp_path / "out"
    assert {file.name for file in out.iterdir()} == {
        "LICENSE", "README.md", "model.int8.onnx", "model.onnx", "tokens.txt",
    }  # fmt: skip
    assert (out / "tokens.txt").read_text().splitlines() == [f"{t} {i}" for i, t in enumerate(TOKENS)]
    card = (out / "README.md").read_text()
    assert digest_file(exp / "valid.loss.ave.pth") in card and digest_file(out / "model.int8.onnx") in card
    (code,) = re.findall(r"```python\n(.*?)```", card, re.DOTALL)
    recording.rename(out / "recording.wav")
    monkeypatch.chdir(out)
    exec(code, {})
    text = espnet_wsm.load(exp, dtype="trained")(noise(2.3), RATE)
    assert len(text) > 5
    assert capsys.readouterr().out.splitlines()[-1] == text.strip()
    with pytest.raises(SystemExit):  # what is there stays
        run("--model", exp, "--out", out)
    assert "is there already: name another folder" in fault_of(capsys)


@pytest.mark.slow
def test_sherpa_onnx_gives_the_text_of_transcribe(exp, tmp_path, capsys):
    import sherpa_onnx

    run("--model", exp, "--out", tmp_path / "out", "--target", "sherpa-onnx")
    out = tmp_path / "out"
    tokens = (out / "tokens.txt").read_text().splitlines()
    assert tokens[:4] == ["<blk> 0", "\u2047 1", "\u2581 2", "A 3"]
    recogniser = sherpa_onnx.OfflineRecognizer.from_omnilingual_asr_ctc(
        str(out / "model.onnx"), str(out / "tokens.txt")
    )
    transcribe = espnet_wsm.load(exp, dtype="trained")
    decoder = transcribe.decoder
    silent = torch.zeros(len(TOKENS))
    silent[find_silent(TOKENS)] = -1e4
    for seconds in (0.9, 2.3):
        stream = recogniser.create_stream()
        stream.accept_waveform(RATE, noise(seconds))
        recogniser.decode_stream(stream)
        samples = torch.from_numpy(noise(seconds))[None]
        log_probs, _ = decoder.log_probs(samples, torch.tensor([samples.size(1)]))
        expected = decoder.hypothesis((log_probs[0] + silent).argmax(-1), log_probs[0, :, 0]).text
        found = stream.result.text
        assert " ".join(found.split()) == " ".join(expected.split()) != ""
        assert not {"<", "\u2047"} & set(found)


def test_tokens_for_sherpa_onnx():
    assert rename_tokens(TOKENS) == ["<blk>", "\u2047", "\u2581", "A", "B", "C", "<sos/eos>"]
    assert find_silent(TOKENS) == [1, 6]
    assert format_tokens(["<blk>", "\u2581a"]) == ["<blk> 0", "\u2581a 1"]
    with pytest.raises(UserError, match="the first token is 'a', not <blank>"):
        rename_tokens(["a", "<blank>"])
    with pytest.raises(UserError, match="'\u2581' would stand twice"):
        rename_tokens(["<blank>", "<space>", "\u2581"])


@pytest.mark.parametrize(
    ("family", "options", "fault"),
    [
        (("hf_wav2vec2_bert", "layer norm"), (), "is not computed in PyTorch"),
        (
            ("whisper", "pre-norm, on log-mel"),
            ("--target", "sherpa-onnx"),
            "this upstream was trained without, and hears a difference; use --target plain",
        ),
    ],
)
def test_what_cannot_be_exported_is_said_first(family, options, fault, training_arguments, tmp_path, capsys):
    upstream = CHECKPOINTS[family](tmp_path / "upstream")
    asr_train.main(training_arguments(tmp_path / "asr_x", encoder_conf=encoder_conf(str(upstream))))
    capsys.readouterr()
    with pytest.raises(SystemExit):
        run("--model", tmp_path / "asr_x", "--out", tmp_path / "out", *options)
    assert fault in fault_of(capsys)
    assert not (tmp_path / "out").exists()


def test_a_runtime_that_computes_something_else_is_an_error(exp, tmp_path, monkeypatch, capsys):
    from espnet_wsm.deploy import export

    class Other:
        def run(self, _outputs, inputs):
            frames = (inputs["samples"].shape[1] - 400) // 320 + 1
            return [np.zeros((1, frames, len(TOKENS)), np.float32)]

    monkeypatch.setattr(export, "write_graph", lambda graph, file: file.write_bytes(b""))
    monkeypatch.setattr(export, "open_session", lambda file: Other())
    with pytest.raises(SystemExit):
        run("--model", exp, "--out", tmp_path / "out")
    assert "onnxruntime's probabilities differ from PyTorch's by" in fault_of(capsys)
    assert not (tmp_path / "out").exists() and not list(tmp_path.glob(".out*"))


def test_the_extra_is_named(monkeypatch, capsys):
    monkeypatch.setattr(export_onnx, "PACKAGES", ("no_such_package",))
    with pytest.raises(SystemExit):
        run("--model", "x", "--out", "y")
    assert fault_of(capsys) == 'error: export_onnx needs more packages: pip install "espnet_wsm[onnx]"'


def test_sherpa_onnx_spells_characters_of_byte_tokens(tmp_path):
    """A vocabulary of sentencepiece with byte fallback; the graph says one path, whatever it hears."""
    import onnx
    import sherpa_onnx
    from onnx import helper, numpy_helper

    tokens = ["<blank>", "<unk>", "▁a", *(f"<0x{byte:02X}>" for byte in range(256)), "b", "<sos/eos>"]
    path = ["▁a", "<blank>", "<0xC3>", "<0xA9>", "b", "▁a", "<blank>", "<0xE4>", "<0xBD>", "<0xA0>"]
    scores = np.full((1, len(path), len(tokens)), -20, np.float32)
    scores[0, np.arange(len(path)), [tokens.index(token) for token in path]] = 0
    nodes = [
        helper.make_node("ReduceSum", ["x"], ["sum"], keepdims=0),
        helper.make_node("Mul", ["sum", "zero"], ["nothing"]),
        helper.make_node("Add", ["scores", "nothing"], ["log_probs"]),
    ]
    graph = helper.make_graph(
        nodes,
        "spelling",
        [helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, (1, "N"))],
        [helper.make_tensor_value_info("log_probs", onnx.TensorProto.FLOAT, (1, "T", len(tokens)))],
        [numpy_helper.from_array(np.float32(0), "zero"), numpy_helper.from_array(scores, "scores")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    onnx.save(model, tmp_path / "model.onnx")
    (tmp_path / "tokens.txt").write_text("\n".join(format_tokens(rename_tokens(tokens))) + "\n")
    recogniser = sherpa_onnx.OfflineRecognizer.from_omnilingual_asr_ctc(
        str(tmp_path / "model.onnx"), str(tmp_path / "tokens.txt")
    )
    stream = recogniser.create_stream()
    stream.accept_waveform(RATE, noise(0.3))
    recogniser.decode_stream(stream)
    assert stream.result.text.strip() == "aéb a你"
