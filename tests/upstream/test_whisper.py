"""Whisper's encoder: its three forms, log-mel of any length, and what cannot be used."""

import json
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from checkpoints import make_whisper, write_whisper, write_whisper_ctranslate2, write_whisper_openai
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import WhisperConfig, WhisperFeatureExtractor, WhisperModel

from espnet_wsm.errors import UserError
from espnet_wsm.upstream import FrozenPrefix, WsmConfig, find_checkpoint, load_upstream
from espnet_wsm.upstream.cut import cut_of
from espnet_wsm.upstream.families.whisper import compute_log_mel, mel_filters
from espnet_wsm.upstream.families.whisper_encoder import WhisperLayer
from espnet_wsm.upstream.inspection import inspect_upstream
from espnet_wsm.upstream.weights.whisper import WhisperSizes

FORMS = {
    "directory": write_whisper,
    "OpenAI": write_whisper_openai,
    "CTranslate2": write_whisper_ctranslate2,
}
SECONDS = 16000


def draw(*lengths: int) -> list[Tensor]:
    generator = torch.Generator().manual_seed(3)
    return [0.1 * torch.randn(length, generator=generator) for length in lengths]


def cut(path: Path, **conf) -> FrozenPrefix:
    """All of an encoder below the cut."""
    config = WsmConfig(str(path), num_replaced=0, **conf)
    expert, checkpoint = load_upstream(config.upstream)
    prefix, suffix = cut_of(expert, checkpoint.family, config)
    prefix.final_norm = suffix.final_norm
    return prefix


@torch.no_grad()
def encode(path: Path, wavs: list[Tensor], **conf) -> tuple[Tensor, Tensor | None]:
    prefix = cut(path, **conf)
    hidden, mask = prefix(wavs)
    return prefix.final_norm(hidden), mask


@pytest.fixture(scope="module")
def directory(tmp_path_factory) -> Path:
    return write_whisper(tmp_path_factory.mktemp("whisper") / "directory")


def refusal(path: Path) -> str:
    """The one sentence, from finding or from loading."""
    with pytest.raises(UserError) as refused:
        load_upstream(str(path))
    message = str(refused.value)
    assert "\n" not in message and str(path) in message
    return message


# The same as transformers


@pytest.mark.parametrize("mels", [80, 128])
def test_thirty_seconds_are_encoded_as_by_transformers(tmp_path, mels):
    path = write_whisper(tmp_path, num_mel_bins=mels)
    (wav,) = draw(30 * SECONDS)
    inputs = WhisperFeatureExtractor.from_pretrained(path)(
        wav.numpy(), sampling_rate=16000, return_tensors="pt"
    )
    with torch.no_grad():
        expected = WhisperModel.from_pretrained(path).eval().encoder(**inputs).last_hidden_state
    found, mask = encode(path, [wav])
    assert mask is None and found.shape == (1, 1500, 32)
    torch.testing.assert_close(found, expected, atol=1e-5 * float(expected.abs().max()), rtol=0)


@settings(max_examples=30, deadline=None, derandomize=True)
@given(st.integers(400, 3 * SECONDS))
def test_log_mel_is_that_of_transformers_of_the_utterance_alone(length):
    (wav,) = draw(length)
    extract = WhisperFeatureExtractor()
    expected = extract(wav.numpy(), sampling_rate=16000, padding="do_not_pad", return_tensors="pt")
    found = compute_log_mel(wav, 80)
    assert found.shape == (length // 160, 80)
    torch.testing.assert_close(found, expected["input_features"][0].T, atol=1e-5, rtol=0)


@pytest.mark.parametrize("mels", [80, 128])
def test_mel_filters_are_those_of_transformers_to_the_last_bit(mels):
    assert np.array_equal(mel_filters(mels), WhisperFeatureExtractor(feature_size=mels).mel_filters.T)


@pytest.mark.parametrize("training", [False, True])
def test_a_layer_is_that_of_transformers(training):
    changes = {"dropout": 0.2, "attention_dropout": 0.1, "activation_dropout": 0.3}
    theirs = make_whisper(**changes).model.encoder.layers[1].train(training)
    theirs.self_attn.config._attn_implementation = "sdpa"
    layer = WhisperLayer(WhisperSizes(d_model=32, encoder_attention_heads=4, encoder_ffn_dim=128, **changes))
    layer.load_state_dict(theirs.state_dict())
    layer.train(training)
    x = torch.randn(2, 9, 32)
    valid = torch.arange(9) < torch.tensor([[9], [5]])
    for mask in (None, valid[:, None, None]):
        torch.manual_seed(7)
        expected = theirs(x, mask)
        torch.manual_seed(7)
        # To the last bit; with dropout, some kernels round by how a tensor lies in memory.
        torch.testing.assert_close(layer(x, mask), expected, atol=2e-5 if training else 0, rtol=0)


def test_sizes_that_a_config_leaves_out_are_those_of_transformers():
    config = WhisperConfig()
    assert all(value == getattr(config, name) for name, value in vars(WhisperSizes()).items())


def test_log_mel_of_silence_is_finite():
    for wav in (torch.zeros(SECONDS), torch.cat([torch.zeros(SECONDS), torch.ones(1)])):
        assert compute_log_mel(wav, 80).isfinite().all()


def test_silence_is_encoded_beside_speech(directory):
    hidden, mask = encode(directory, [*draw(2 * SECONDS), torch.zeros(SECONDS)])
    assert hidden[~mask].isfinite().all()


# Forms


def test_the_same_weights_give_the_same_states_in_every_form(tmp_path, directory):
    wavs = draw(SECONDS, 7000)
    expected, mask = encode(directory, wavs)
    for form, write in FORMS.items():
        path = write(tmp_path / form)
        found, _ = encode(path, wavs)
        assert torch.equal(found[~mask], expected[~mask]), form
        assert find_checkpoint(str(path)).family.name == "whisper"


def save_encoder(directory: Path, prefix: str, dtype: torch.dtype, shards: int = 1) -> Path:
    """A directory with the encoder's weights alone."""
    model = make_whisper()
    directory.mkdir()
    model.config.save_pretrained(directory)
    weights = {
        f"{prefix}{name}": weight.to(dtype) for name, weight in model.model.encoder.state_dict().items()
    }
    names = list(weights)
    for shard in range(shards):
        name = "model" if shards == 1 else f"model-{shard + 1:05}-of-{shards:05}"
        save_file({key: weights[key] for key in names[shard::shards]}, directory / f"{name}.safetensors")
    return directory


@pytest.mark.parametrize("prefix", ["encoder.", "model.encoder.", ""])
def test_a_directory_may_hold_the_encoder_alone(tmp_path, directory, prefix):
    path = save_encoder(tmp_path / "encoder", prefix, torch.float32)
    assert torch.equal(encode(path, draw(SECONDS))[0], encode(directory, draw(SECONDS))[0])


def test_weights_may_be_of_half_precision_and_in_shards(tmp_path, directory):
    path = save_encoder(tmp_path / "encoder", "encoder.", torch.float16, shards=3)
    expert, _ = load_upstream(str(path))
    assert {p.dtype for p in expert.parameters()} == {torch.float32}
    found, expected = encode(path, draw(SECONDS))[0], encode(directory, draw(SECONDS))[0]
    assert 0 < (found - expected).norm() < 1e-2 * expected.norm()


def test_weights_may_be_those_of_an_old_directory(tmp_path, directory):
    path = save_encoder(tmp_path / "encoder", "model.encoder.", torch.float32)
    torch.save(load_file(path / "model.safetensors"), path / "pytorch_model.bin")
    (path / "model.safetensors").unlink()
    assert torch.equal(encode(path, draw(SECONDS))[0], encode(directory, draw(SECONDS))[0])


def test_a_file_is_found_in_its_folder_and_under_any_name(tmp_path):
    openai = write_whisper_openai(tmp_path / "openai")
    renamed = openai.rename(openai.parent / "base.pt")
    assert find_checkpoint(str(renamed)).files == find_checkpoint(str(renamed.parent)).files == (renamed,)
    folder = write_whisper_ctranslate2(tmp_path / "ct2")
    (file,) = find_checkpoint(str(folder)).files
    assert file == folder / "model.bin" and find_checkpoint(str(file)).files == (file,)
    digest = find_checkpoint(str(renamed)).digest
    assert find_checkpoint(str(renamed.rename(openai))).digest == digest


def test_the_inspection_counts_the_encoder_alone(directory):
    inspection = inspect_upstream(WsmConfig(str(directory)), padding=True)
    model = make_whisper().model.encoder
    assert inspection.parameters == sum(p.numel() for p in model.parameters())
    assert (inspection.num_layers, inspection.dim) == (3, 32)
    assert inspection.norms == "pre-norm layers, on 80 log-mel channels"
    assert max(inspection.deviations) < 1e-5


# Lengths


@pytest.mark.parametrize("write", FORMS.values(), ids=FORMS)
def test_the_longest_utterance_is_known_without_the_weights(tmp_path, write):
    path = write(tmp_path / "tiny", max_source_positions=100)
    checkpoint = find_checkpoint(str(path))
    assert checkpoint.family.max_frames(checkpoint.files, trust=False) == 100
    assert checkpoint.family.limit_frames(load_upstream(str(path))[0]) == 100


def test_thirty_seconds_go_through_at_once(directory, caplog):
    prefix = cut(directory)
    assert prefix(draw(480_159))[0].size(1) == 1500
    assert "longer than" not in caplog.text


def test_longer_utterances_go_through_in_pieces_each_frame_from_the_piece_around_it(tmp_path, caplog):
    path = write_whisper(tmp_path / "short", max_source_positions=100)  # 2 s
    wavs = draw(3 * SECONDS, SECONDS, 11 * SECONDS + 1234)  # 14 pieces, more than go through at once
    states: list[Tensor] = []
    prefix = cut(path)
    hidden, mask = prefix(wavs, states.append)
    assert "an utterance of 11.08 s is longer than the 2 s that the upstream takes" in caplog.text
    assert (~mask).sum(1).tolist() == [150, 50, 554]

    def compute(wav: Tensor) -> Tensor:
        frames, size, context = (len(wav) + 160) // 320, 100, 25
        if frames <= size:
            return prefix([wav])[0][0]
        expected = torch.zeros(frames, hidden.size(-1))
        for start in [*range(0, frames - size, size - 2 * context), frames - size]:
            (piece,) = prefix([wav[start * 320 : start * 320 + (size - 1) * 320 + 160]])[0]
            assert len(piece) == size
            expected[start + context * (start > 0) : start + size] = piece[context * (start > 0) :]
        return expected

    for row, padded, wav in zip(hidden, mask, wavs, strict=True):
        torch.testing.assert_close(row[~padded], compute(wav), atol=1e-5, rtol=0)
        assert (row[padded] == 0).all()
    assert len(states) == 3 and {each.shape for each in states} == {hidden.shape}
    alone: list[Tensor] = []
    prefix(wavs[1:2], alone.append)
    for together, each in zip(states, alone, strict=True):
        torch.testing.assert_close(together[1, :50], each[0], atol=1e-5, rtol=0)


# What cannot be used


def change_config(directory: Path, **changes) -> None:
    file = directory / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"d_model": 48}, r"3 layers of 48 on 80 mels: .* is \(48"),
        ({"encoder_layers": 2}, r"2 layers of 32 .*: layers\.2\..* is not there"),
        ({"num_mel_bins": 128}, r"on 128 mels: conv1\.weight \(32, 80, 3\) is \(32, 128, 3\) there"),
        ({"max_source_positions": 750}, r"embed_positions\.weight \(1500, 32\) is \(750, 32\) there"),
    ],
)
def test_another_size_than_that_of_its_config_is_refused(tmp_path, changes, reason):
    path = write_whisper(tmp_path / "copy")
    change_config(path, **changes)
    assert re.search(f"not of the size that it describes, .*{reason}", refusal(path))


def test_an_encoder_that_lacks_layers_is_refused(tmp_path):
    path = write_whisper(tmp_path / "copy")
    change_config(path, encoder_layers=5)
    assert "is not a complete checkpoint of whisper: 30 weights are missing, the first is layers.3." in (
        refusal(path)
    )


def test_a_config_that_describes_no_model_is_refused(tmp_path):
    path = write_whisper(tmp_path / "copy")
    for changes, reason in (
        ({"d_model": "wide"}, "d_model is 'wide', and has to be a number of 1 or more"),
        ({"encoder_attention_heads": 5}, "d_model is 32, and has to be a multiple of the 5 heads"),
        ({"dropout": 1.5}, "dropout is 1.5, and has to be a number from 0 to below 1"),
        ({"activation_function": "snake"}, "activation_function is 'snake', and has to be gelu or relu"),
    ):
        settings = (path / "config.json").read_text()
        change_config(path, **changes)
        assert f"config.json does not describe a Whisper model: {reason}" in refusal(path)
        (path / "config.json").write_text(settings)
    (path / "config.json").write_text(settings + "{")
    assert "config.json is not a transformers configuration" in refusal(path)


@pytest.mark.parametrize("kind", ["directory", "OpenAI"])
def test_a_model_without_an_encoder_is_refused(tmp_path, kind):
    path = FORMS[kind](tmp_path / "copy")
    if kind == "directory":
        weights = load_file(path / "model.safetensors")
        kept = {name: weight for name, weight in weights.items() if "encoder" not in name}
        save_file(kept, path / "model.safetensors")
    else:
        content = torch.load(path)
        state = content["model_state_dict"]
        content["model_state_dict"] = {k: v for k, v in state.items() if not k.startswith("encoder")}
        torch.save(content, path)
    assert "holds no Whisper encoder: " in refusal(path)


def test_a_damaged_file_of_weights_is_named(tmp_path):
    path = write_whisper(tmp_path / "copy")
    (path / "model.safetensors").write_bytes((path / "model.safetensors").read_bytes()[:100])
    assert re.search(r"copy/model\.safetensors is damaged \(.*\): get the model again", refusal(path))


def test_a_shard_that_is_missing_is_named(tmp_path):
    path = tmp_path / "copy"
    make_whisper().save_pretrained(path, max_shard_size="60KB")
    assert find_checkpoint(str(path)) and encode(path, draw(SECONDS))[0].isfinite().all()
    (lost, *_) = sorted(path.glob("model-*.safetensors"))
    lost.unlink()
    message = (
        rf"model\.safetensors\.index\.json names {lost.name}, which is not beside it: get the model again"
    )
    assert re.search(message, refusal(path))


@pytest.mark.parametrize("state", [None, {1: torch.ones(1)}, {"encoder.conv1.weight": "text"}])
def test_a_file_of_openai_without_tensors_is_refused(tmp_path, state):
    path = write_whisper_openai(tmp_path / "copy")
    torch.save(torch.load(path) | {"model_state_dict": state}, path)
    assert "its model_state_dict does not hold tensors by name" in refusal(path)


def test_integers_are_refused(tmp_path):
    path = write_whisper(tmp_path / "copy")
    weights = load_file(path / "model.safetensors")
    name = "model.encoder.layers.1.fc1.weight"
    save_file(weights | {name: weights[name].to(torch.int8)}, path / "model.safetensors")
    assert "is quantised: layers.1.fc1.weight holds int8; take the model in float16" in refusal(path)


@pytest.mark.parametrize("dims", [{}, {"n_mels": "80"}, [80]])
def test_a_file_of_openai_without_sizes_is_refused(tmp_path, dims):
    path = write_whisper_openai(tmp_path / "copy")
    torch.save(torch.load(path) | {"dims": dims}, path)
    assert "does not describe a Whisper model: its dims have no size n_" in refusal(path)


class Malicious:
    """Runs a command when it is unpickled."""

    def __init__(self, mark: Path):
        self.mark = mark

    def __reduce__(self) -> tuple[Callable, tuple[str, str]]:
        return Path.write_text, (self.mark, "ran")


@pytest.mark.parametrize("kind", ["directory", "OpenAI"])
def test_a_pickle_that_would_run_code_is_refused(tmp_path, kind):
    path, mark = FORMS[kind](tmp_path / "copy"), tmp_path / "mark"
    if kind == "directory":
        (path / "model.safetensors").unlink()
        torch.save({"model.encoder.conv1.weight": Malicious(mark)}, path / "pytorch_model.bin")
    else:
        torch.save(torch.load(path) | {"extra": Malicious(mark)}, path)
    assert "can run code when it is loaded" in refusal(path)
    assert not mark.exists()


def test_a_file_of_ctranslate2_that_is_cut_short_is_refused(tmp_path):
    path = write_whisper_ctranslate2(tmp_path / "copy")
    file = path / "model.bin"
    file.write_bytes(file.read_bytes()[:-1000])
    assert "is cut short or damaged" in refusal(path)
