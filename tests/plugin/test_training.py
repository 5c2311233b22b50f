"""The command lines take ESPnet's arguments and train, resume and decode."""

import json

import pytest
import torch
import yaml

from espnet_wsm.bin import asr_inference, asr_inference_greedy, asr_train


def test_training_records_the_model_and_moves_the_suffix_only(training_arguments, upstream_path, tmp_path):
    torch.manual_seed(0)
    asr_train.main(training_arguments(tmp_path / "exp"))
    exp = tmp_path / "exp"
    record = json.loads((exp / "parameters.json").read_text())
    assert 0 < record["trainable"] < record["total"] and record["upstream"]["name"] == "hf_hubert_custom"
    conf = yaml.safe_load((exp / "config.yaml").read_text())["encoder_conf"]
    assert record["upstream"]["path"] == conf["upstream"] == upstream_path("hf_hubert", True)
    assert conf["num_replaced"] == 2 and conf["trainable"] == "layer" and conf["window"] == 3
    one, two = (torch.load(exp / f"{n}epoch.pth") for n in (1, 2))
    assert not any(k.startswith("encoder.prefix.") for k in one)
    assert any(not torch.equal(one[k], two[k]) for k in one if k.startswith("encoder.suffix."))


def test_a_resumed_training_equals_an_uninterrupted_one(training_arguments, tmp_path):
    asr_train.main(training_arguments(tmp_path / "whole", max_epoch=3))
    asr_train.main(training_arguments(tmp_path / "parts", max_epoch=1))
    asr_train.main([*training_arguments(tmp_path / "parts", max_epoch=3), "--resume", "true"])
    whole, parts = (torch.load(tmp_path / name / "3epoch.pth") for name in ("whole", "parts"))
    assert whole.keys() == parts.keys() and all(torch.equal(whole[k], parts[k]) for k in whole)


@pytest.fixture
def trained(training_arguments, tmp_path):
    """A trained experiment."""
    asr_train.main(training_arguments(tmp_path / "exp"))
    return tmp_path / "exp"


def decode_arguments(corpus, trained, out) -> list[str]:
    return [
        "--output_dir", str(out), "--ngpu", "0",
        "--data_path_and_name_and_type", f"{corpus / 'wav.scp'},speech,sound",
        "--asr_train_config", str(trained / "config.yaml"),
        "--asr_model_file", str(trained / "valid.loss.best.pth"),
    ]  # fmt: skip


def test_greedy_decoding_does_not_depend_on_the_batch(corpus, trained, tmp_path):
    for size in ("1", "3"):
        asr_inference_greedy.main([*decode_arguments(corpus, trained, tmp_path / size), "--batch_size", size])
    texts = [(tmp_path / size / "1best_recog" / "text").read_text() for size in ("1", "3")]
    assert texts[0] == texts[1]
    assert [line.split(" ")[0] for line in texts[0].splitlines()] == ["u1", "u2", "u3"]


def test_espnets_beam_search_decodes_the_same_utterances(corpus, trained, tmp_path):
    asr_inference.main(
        [*decode_arguments(corpus, trained, tmp_path / "beam"), "--ctc_weight", "1.0", "--beam_size", "2"]
    )
    lines = (tmp_path / "beam" / "1best_recog" / "text").read_text().splitlines()
    assert [line.split(" ")[0] for line in lines] == ["u1", "u2", "u3"]


@pytest.mark.parametrize("option", ["--asr_train_config", "--asr_model_file"])
def test_a_missing_model_says_what_to_run(corpus, trained, tmp_path, capsys, option):
    arguments = decode_arguments(corpus, trained, tmp_path / "out")
    arguments[arguments.index(option) + 1] = "nowhere.pth"
    with pytest.raises(SystemExit) as exit_:
        asr_inference_greedy.main(arguments)
    assert exit_.value.code == 1
    assert "nowhere.pth does not exist; train the model first" in capsys.readouterr().err


def test_greedy_decoding_needs_a_ctc_output(corpus, training_arguments, tmp_path, capsys):
    exp = tmp_path / "attention_only"
    changes = {
        "decoder": "transformer",
        "decoder_conf": {"num_blocks": 1, "linear_units": 16},
        "model_conf": {"ctc_weight": 0.0, "extract_feats_in_collect_stats": False},
        "max_epoch": 1,
    }
    asr_train.main(training_arguments(exp, **changes))
    with pytest.raises(SystemExit):
        asr_inference_greedy.main(decode_arguments(corpus, exp, tmp_path / "out"))
    assert "ctc_weight 0: greedy CTC decoding needs a CTC output" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("conf", "message"),
    [
        ("mixer=transformer", "error: mixer has to be one of"),
        ("upstream=fbank", "error: upstream fbank is not supported"),
        ("num_replaced=7", "error: num_replaced is 7, but the upstream has only 3 layers"),
        ("upstream=nowhere/at_all", "error: upstream nowhere/at_all is neither a file nor a directory"),
        ("path=nowhere", "error: encoder_conf has no key path any more: write 'upstream: nowhere'"),
        ("widow=3", "error: encoder_conf has no key widow"),
    ],
)
def test_bad_encoder_settings_end_in_one_sentence(training_arguments, tmp_path, capsys, conf, message):
    with pytest.raises(SystemExit) as exit_:
        asr_train.main([*training_arguments(tmp_path / "exp"), "--encoder_conf", conf])
    assert exit_.value.code == 1 and message in capsys.readouterr().err
    assert not list((tmp_path / "exp").glob("*.pth"))
