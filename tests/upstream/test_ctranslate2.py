"""A model of CTranslate2 is read without it, and its encoder becomes transformers'."""

import numpy as np
import pytest
import torch
from ctranslate2_models import SIZES, TYPES, convert_whisper, make_whisper, quantise, write_ctranslate2
from transformers import WhisperModel

from espnet_wsm.errors import UserError
from espnet_wsm.upstream.weights.ctranslate2 import describe_whisper, map_whisper_encoder, read_ctranslate2


@pytest.fixture(scope="module")
def model() -> WhisperModel:
    return make_whisper()


@pytest.fixture
def variables(model) -> dict[str, np.ndarray]:
    return convert_whisper(model)


def test_the_encoder_comes_back_as_it_was(model, variables, tmp_path):
    file = tmp_path / "model.bin"
    write_ctranslate2(file, variables)
    found = read_ctranslate2(file)
    assert found.keys() == variables.keys()
    assert all(np.array_equal(found[name], variables[name]) for name in variables)
    assert describe_whisper(found, file) == SIZES
    state = map_whisper_encoder(found, file)
    expected = model.encoder.state_dict()
    assert state.keys() == expected.keys()
    for name, value in state.items():
        assert value.dtype == np.float16 and np.array_equal(value, expected[name].numpy()), name


def test_every_type_is_read(tmp_path):
    values = {kind: np.arange(-3, 3).reshape(2, 3).astype(kind) for kind in TYPES if kind != "bfloat16"}
    half = torch.arange(-3, 3).reshape(2, 3).to(torch.bfloat16)
    values["bfloat16"] = half.view(torch.int16).numpy()
    values["scalar"] = np.array(7, "int32")
    write_ctranslate2(
        tmp_path / "model.bin", values, aliases={"again": "int8"}, types={"bfloat16": TYPES.index("bfloat16")}
    )
    found = read_ctranslate2(tmp_path / "model.bin")
    assert found.keys() == values.keys() | {"again"}
    for kind in TYPES:
        assert found[kind].dtype == ("float32" if kind == "bfloat16" else kind)
        assert found[kind].tolist() == [[-3, -2, -1], [0, 1, 2]]
    assert found["scalar"].shape == () and found["scalar"] == 7
    assert np.array_equal(found["again"], values["int8"])


@pytest.mark.parametrize("kind", ["int8", "int16"])
def test_quantised_weights_are_dequantised(model, variables, tmp_path, kind):
    file = tmp_path / "model.bin"
    write_ctranslate2(file, quantise(variables, kind))
    state = map_whisper_encoder(read_ctranslate2(file), file)
    expected = {name: value.float().numpy() for name, value in model.encoder.state_dict().items()}
    step = max(np.abs(value).max() for value in expected.values()) / (127 if kind == "int8" else 2**10)
    for name, value in expected.items():
        assert np.abs(state[name] - value).max() <= 0.5001 * step, name
    assert state["conv1.weight"].dtype == state["layers.0.fc1.weight"].dtype == np.float32


def test_a_convolution_may_have_one_scale_for_each_output(model, variables, tmp_path):
    weight = variables["encoder/conv1/weight"].astype("float32")
    scale = 127 / np.abs(weight).max(axis=(1, 2))
    variables["encoder/conv1/weight"] = np.rint(weight * scale[:, None, None]).astype("int8")
    variables["encoder/conv1/weight_scale"] = scale.astype("float32")
    found = map_whisper_encoder(variables, tmp_path)["conv1.weight"]
    assert np.abs(found - weight).max() <= 0.5001 / scale.min()


@pytest.mark.parametrize("scale", [None, np.ones(3, "float32")], ids=["none", "of another size"])
def test_integers_without_their_scale_are_refused(variables, tmp_path, scale):
    name = "encoder/layer_1/ffn/linear_0/weight"
    variables[name] = variables[name].astype("int8")
    if scale is not None:
        variables[f"{name}_scale"] = scale
    with pytest.raises(
        UserError, match=f"{name} holds integers and has (no|a) scale.*--quantization float16"
    ):
        map_whisper_encoder(variables, tmp_path)


def test_without_their_number_heads_are_as_wide_as_in_every_whisper(variables, tmp_path):
    wide = np.zeros((128, 5, 3), "float16")
    sizes = describe_whisper(
        {name: value for name, value in variables.items() if "num_heads" not in name}
        | {"encoder/conv1/weight": wide},
        tmp_path,
    )
    assert sizes["encoder_attention_heads"] == sizes["decoder_attention_heads"] == 2


def test_another_version_is_refused(variables, tmp_path):
    write_ctranslate2(tmp_path / "model.bin", variables, version=5)
    with pytest.raises(UserError, match=r"model\.bin begins with 5, .* binary version 6, .*: convert"):
        read_ctranslate2(tmp_path / "model.bin")
    (tmp_path / "model.bin").write_bytes(b"PK\3\4 a zip archive")
    with pytest.raises(UserError, match=r"model\.bin begins with 67324752, so it is not a CTranslate2"):
        read_ctranslate2(tmp_path / "model.bin")


def test_a_file_cut_anywhere_is_refused(tmp_path):
    values = {"encoder/a": np.ones((2, 3), "float32"), "encoder/b": np.ones(2, "int8")}
    file = tmp_path / "model.bin"
    write_ctranslate2(file, values, aliases={"encoder/c": "encoder/a"})
    whole = file.read_bytes()
    for end in range(len(whole)):
        file.write_bytes(whole[:end])
        with pytest.raises(UserError, match=r"model\.bin is cut short or damaged: byte \d+ is expected"):
            read_ctranslate2(file)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            b"\x02\2\0\0\0\3\0\0\0",
            b"\x02\2\0\0\0\xff\xff\xff\xff",
            r"a has 24 bytes for shape \(2, 4294967295\)",
        ),
        (b"\x02\2\0\0\0\3\0\0\0\0", b"\x02\2\0\0\0\3\0\0\0\6", r"a has 24 bytes .* type 6"),
        (b"\x18\0\0\0", b"\x19\0\0\0", r"a has 25 bytes"),
        (b"\x0a\0encoder/a\0", b"\xff\xffencoder/a\0", "cut short or damaged: byte 6"),
        (b"\x0a\0encoder/a\0", b"\x0a\0encoder/\xff\0", "damaged before byte .*: no name there"),
        (
            b"encoder/c\0\x0a\0encoder/a",
            b"encoder/c\0\x0a\0encoder/x",
            "encoder/c stands for encoder/x, which",
        ),
    ],
    ids=["a size", "a type", "a length", "a long name", "a name", "an alias"],
)
def test_numbers_that_cannot_be_true_are_refused(tmp_path, old, new, message):
    file = tmp_path / "model.bin"
    write_ctranslate2(file, {"encoder/a": np.ones((2, 3), "float32")}, aliases={"encoder/c": "encoder/a"})
    whole = file.read_bytes()
    assert old in whole
    file.write_bytes(whole.replace(old, new, 1))
    with pytest.raises(UserError, match=message):
        read_ctranslate2(file)


@pytest.mark.parametrize("place", ["missing.bin", ""], ids=["no file", "a folder"])
def test_what_cannot_be_read_is_named(tmp_path, place):
    with pytest.raises(UserError, match=f"{tmp_path / place} cannot be read"):
        read_ctranslate2(tmp_path / place)


def test_a_bias_of_the_keys_is_refused(variables, tmp_path):
    variables["encoder/layer_1/self_attention/linear_0/bias"][SIZES["d_model"]] = 1
    with pytest.raises(UserError, match="the keys of layer 1 have a bias"):
        map_whisper_encoder(variables, tmp_path)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("encoder/conv1/weight", None, "holds no Whisper encoder: encoder/conv1/weight is missing"),
        ("encoder/layer_1/ffn/linear_1/weight", None, "lacks encoder/layer_1/ffn/linear_1/weight"),
        ("encoder/layer_3/ffn/linear_1/bias", np.ones(16), "lacks encoder/layer_2/self_attention/linear_0/w"),
        ("encoder/layer_norm/gamma", np.ones(15), r"layer_norm/gamma has shape \(15,\), .* size \(16,\)"),
        ("encoder/layer_0/gate/weight", np.ones(16), "no encoder/layer_0/gate/weight"),
        ("encoder/num_heads", np.array(5), "damaged: 5 heads cannot share 16 channels"),
    ],
)
def test_another_encoder_is_refused(variables, tmp_path, name, value, message):
    if value is None:
        del variables[name]
    else:
        variables[name] = value
    with pytest.raises(UserError, match=message):
        map_whisper_encoder(variables, tmp_path)
