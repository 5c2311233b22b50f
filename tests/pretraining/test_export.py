"""An exported model is the one that was trained, in the form that everything else reads."""

import inspect
import json

import pytest
import torch
import yaml
from espnet2.asr.encoder.hubert_encoder import TorchAudioHuBERTPretrainEncoder
from espnet2.tasks.hubert import HubertTask
from safetensors.torch import load_file, save_file
from transformers import HubertModel

from espnet_wsm.bin.export_upstream import main
from espnet_wsm.errors import UserError
from espnet_wsm.pretraining.export import build_hubert, read_training, save_upstream
from espnet_wsm.pretraining.records import read_settings
from espnet_wsm.upstream import find_checkpoint, load_upstream
from espnet_wsm.upstream.record import read_record

FILES = ["config.json", "model.safetensors", "preprocessor_config.json"]


@pytest.fixture
def wave() -> torch.Tensor:
    return 0.1 * torch.randn(1, 16000, generator=torch.Generator().manual_seed(0))


@torch.no_grad()
def run_torchaudio(exp, wave: torch.Tensor) -> list[torch.Tensor]:
    """The output of each layer of ESPnet's own model, (1, T, D)."""
    model, _ = HubertTask.build_model_from_file(exp / "config.yaml", exp / MODEL)
    return model.eval().encoder.hubert_pretrain_model.wav2vec2.extract_features(wave)[0]


MODEL = "valid.acc_m.ave.pth"  # of the trainings here


def test_the_model_computes_what_torchaudio_computes(training, wave, pre_norm):
    exp = training("iter1", pre_norm)
    expected = run_torchaudio(exp, wave)
    model = build_hubert(*read_training(exp))
    assert not model.training and model.dtype == torch.float32
    kept = []
    for layer in model.encoder.layers:
        layer.register_forward_hook(lambda _, __, out: kept.append(out if torch.is_tensor(out) else out[0]))
    with torch.no_grad():
        model(wave)
    for found, layer in zip(kept, expected, strict=True):
        torch.testing.assert_close(found, layer, rtol=1e-4, atol=1e-4)
    assert (kept[0] - kept[-1]).abs().max() > 0.1


def test_the_directory_loads_as_hf_hubert_and_computes_the_same_but_for_float16(
    training, wave, pre_norm, tmp_path
):
    exp = training("iter1", pre_norm)
    out = tmp_path / "upstream"
    main(["--exp", str(exp), "--out", str(out)])
    expert, found = load_upstream(str(out))
    assert (found.family.name, found.place) == ("hf_hubert", out)
    stored = load_file(out / "model.safetensors")
    assert {value.dtype for value in stored.values()} == {torch.float16}
    assert {parameter.dtype for parameter in expert.parameters()} == {torch.float32}
    with torch.no_grad():
        states = expert([wave[0]])["hidden_states"]
    for state, layer in zip(states[1:-1], run_torchaudio(exp, wave)[:-1], strict=True):
        torch.testing.assert_close(state, layer, rtol=0.02, atol=0.02)
    assert sorted(file.name for file in out.iterdir()) == [*FILES, "upstream.json"]
    assert (out / "model.safetensors").stat().st_mode == (out / "config.json").stat().st_mode
    settings = json.loads((out / "preprocessor_config.json").read_text())
    assert settings["do_normalize"] is False and settings["sampling_rate"] == 16000


def test_the_defaults_are_espnets(training):
    config = training("iter1") / "config.yaml"
    settings = yaml.safe_load(config.read_text())
    config.write_text(yaml.safe_dump(settings | {"encoder_conf": {}}))
    parameters = inspect.signature(TorchAudioHuBERTPretrainEncoder).parameters
    conf = read_settings(config)["encoder_conf"]
    assert conf.keys() >= {"extractor_conv_layer_config", "encoder_pos_conv_kernel", "mask_prob"}
    assert {name: parameters[name].default for name in conf} == conf


def test_what_the_configuration_leaves_out_has_espnets_defaults(training):
    exp = training("iter1")
    settings = yaml.safe_load((exp / "config.yaml").read_text())
    for name in ("extractor_mode", "extractor_conv_bias", "encoder_layer_norm_first"):
        del settings["encoder_conf"][name]
    (exp / "config.yaml").write_text(yaml.safe_dump(settings))
    conf, state = read_training(exp)
    assert conf["extractor_mode"] == "group_norm" and conf["encoder_layer_norm_first"] is False
    assert isinstance(build_hubert(conf, state), HubertModel)


def export(training, tmp_path):
    out = tmp_path / "upstream"
    main(["--exp", str(training("iter1")), "--out", str(out)])
    return out


def test_the_record_tells_a_damaged_export(training, tmp_path):
    out = export(training, tmp_path)
    record = read_record(out)
    assert (record["upstream"], record["files"]) == ("hf_custom", FILES)
    assert record["exported_from"] == str(tmp_path / "exp/iter1")
    remedy = f": take a whole copy of it, or remove {out} and export {record['exported_from']} again"
    whole = {file: (out / file).read_bytes() for file in FILES}
    weights = load_file(out / "model.safetensors")
    save_file(
        {name: value + 1 for name, value in weights.items()}, out / "model.safetensors", {"format": "pt"}
    )
    with pytest.raises(
        UserError, match=r"model\.safetensors is not the one that upstream.json describes"
    ) as refused:
        load_upstream(str(out))
    assert str(refused.value).endswith(remedy)
    (out / "model.safetensors").write_bytes(whole["model.safetensors"])
    changed = json.loads(whole["config.json"]) | {"num_hidden_layers": 2}  # would load without a word
    (out / "config.json").write_text(json.dumps(changed))
    with pytest.raises(UserError, match=r"config\.json is not the one that upstream.json describes"):
        find_checkpoint(str(out))
    (out / "config.json").unlink()
    with pytest.raises(UserError) as refused:
        load_upstream(str(out))
    assert str(refused.value) == f"{out / 'config.json'} is missing{remedy}"
    (out / "config.json").write_bytes(whole["config.json"])
    (out / "README.md").write_text("Notes of a reader.\n")
    assert load_upstream(str(out))[1].digest == find_checkpoint(str(out)).digest


def test_an_export_replaces_an_export_and_nothing_else(training, tmp_path):
    out = export(training, tmp_path)
    (out / "README.md").write_text("of the first\n")
    main(["--exp", str(tmp_path / "exp/iter1"), "--out", str(out)])
    assert not (out / "README.md").exists(), "nothing of the first is left"
    mine = tmp_path / "mine"
    mine.mkdir()
    model = build_hubert(*read_training(tmp_path / "exp/iter1"))
    save_upstream(model, mine, tmp_path / "exp/iter1")
    (mine / "upstream.json").unlink()
    for place in (mine, mine / "config.json"):
        with pytest.raises(UserError, match=f"{place} holds something else, not an exported upstream"):
            save_upstream(model, place, tmp_path / "exp/iter1")
    assert sorted(file.name for file in mine.iterdir()) == FILES


def test_an_export_that_fails_leaves_the_earlier_one_whole(training, tmp_path):
    out = export(training, tmp_path)
    before = {file.name: file.read_bytes() for file in out.iterdir()}

    def fail(directory):
        assert sorted(file.name for file in directory.iterdir()) == FILES, "the record comes last"
        raise KeyboardInterrupt

    model = build_hubert(*read_training(tmp_path / "exp/iter1"))
    with pytest.raises(KeyboardInterrupt):
        save_upstream(model, out, tmp_path / "exp/iter1", fail)
    assert {file.name: file.read_bytes() for file in out.iterdir()} == before
    with pytest.raises(KeyboardInterrupt):
        save_upstream(model, tmp_path / "new", tmp_path / "exp/iter1", fail)
    assert {place.name for place in tmp_path.iterdir()} == {"dump", "exp", "upstream"}


def test_an_encoder_of_ours_takes_the_exported_model(training, tmp_path):
    from espnet_wsm.plugin.encoder import WsmS3prlEncoder

    out = export(training, tmp_path)
    encoder = WsmS3prlEncoder(1, upstream=str(out), num_replaced=1, width=16).eval()
    encoded, lengths, _ = encoder(torch.randn(2, 8000), torch.tensor([8000, 6000]))
    assert encoded.shape == (2, 24, 32) and lengths.tolist() == [24, 18] and encoded.isfinite().all()


def break_training(exp, how: str) -> None:
    match how:
        case "no config":
            (exp / "config.yaml").unlink()
        case "no model":
            (exp / MODEL).unlink()
        case "half a model":
            (exp / MODEL).write_bytes((exp / MODEL).read_bytes()[:5000])
        case "a config of another program":
            (exp / "config.yaml").write_text("- 1\n")
        case "a config without a criterion":
            settings = yaml.safe_load((exp / "config.yaml").read_text())
            del settings["best_model_criterion"]
            (exp / "config.yaml").write_text(yaml.safe_dump(settings))
        case "another encoder":
            (exp / "config.yaml").write_text("encoder: conformer\nencoder_conf: {}\n")
        case "other sizes":
            text = (exp / "config.yaml").read_text()
            (exp / "config.yaml").write_text(text.replace("encoder_num_layers: 3", "encoder_num_layers: 4"))


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ("no config", "config.yaml does not exist: pre-train first"),
        ("no model", "valid.acc_m.ave.pth does not exist: pre-train first"),
        ("half a model", "valid.acc_m.ave.pth is damaged"),
        ("a config of another program", "config.yaml is damaged, or not of this recipe"),
        ("a config without a criterion", "config.yaml is damaged, or not of this recipe"),
        ("another encoder", "encoder conformer is not one of wsm_hubert, torchaudio_hubert"),
        ("other sizes", "the weights do not fit encoder_conf"),
    ],
)
def test_a_training_that_cannot_be_exported_is_refused(training, tmp_path, capsys, how, message):
    exp = training("iter1")
    break_training(exp, how)
    with pytest.raises(SystemExit, match="1"):
        main(["--exp", str(exp), "--out", str(tmp_path / "out")])
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
