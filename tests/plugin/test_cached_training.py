"""Training from stored features: the same numbers, without the upstream, and only when they belong."""

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
import yaml
from tiny_training import decode_arguments, use_cache

from espnet_wsm.bin import asr_inference_greedy, asr_train
from espnet_wsm.stages import cache_features

SPECAUG = {
    "apply_time_warp": False,
    "apply_time_mask": False,
    "num_freq_mask": 1,
    "freq_mask_width_range": [8, 16],
}


def load(exp: Path, epoch: int = 2) -> dict[str, torch.Tensor]:
    return torch.load(exp / f"{epoch}epoch.pth")


def forbid_upstreams(monkeypatch) -> None:
    def refuse(*_arguments):
        raise AssertionError("the upstream was loaded")

    monkeypatch.setattr("espnet_wsm.plugin.encoder.load_upstream", refuse)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"specaug": "specaug", "specaug_conf": SPECAUG},
        {"batch_type": "numel", "batch_bins": 20000},
    ],
    ids=["plain", "specaug", "numel"],
)  # fmt: skip
def test_stored_float32_features_train_as_fresh_ones(
    training_arguments, make_cache, tmp_path, monkeypatch, changes
):
    cache = make_cache("float32")
    asr_train.main(training_arguments(tmp_path / "fresh", **changes))
    forbid_upstreams(monkeypatch)
    asr_train.main(use_cache(training_arguments(tmp_path / "stored", **changes), cache))
    fresh, stored = load(tmp_path / "fresh"), load(tmp_path / "stored")
    assert fresh.keys() == stored.keys()
    for name, value in fresh.items():
        torch.testing.assert_close(stored[name], value, atol=1e-6, rtol=1e-5)
    configs = [yaml.safe_load((tmp_path / exp / "config.yaml").read_text()) for exp in ("fresh", "stored")]
    assert configs[0]["encoder_conf"] == configs[1]["encoder_conf"]
    records = [json.loads((tmp_path / exp / "parameters.json").read_text()) for exp in ("fresh", "stored")]
    assert records[0] == records[1]


def test_specaugment_masks_features_with_and_without_a_cache(training_arguments, tmp_path):
    asr_train.main(training_arguments(tmp_path / "plain"))
    asr_train.main(training_arguments(tmp_path / "masked", specaug="specaug", specaug_conf=SPECAUG))
    plain, masked = load(tmp_path / "plain"), load(tmp_path / "masked")
    assert any(not torch.equal(plain[name], masked[name]) for name in plain)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_precision_features_train_nearly_as_fresh_ones(training_arguments, make_cache, tmp_path, dtype):
    cache = make_cache(dtype)
    asr_train.main(use_cache(training_arguments(tmp_path / "half"), cache))
    asr_train.main(training_arguments(tmp_path / "fresh"))
    half, fresh = load(tmp_path / "half"), load(tmp_path / "fresh")
    assert any(not torch.equal(half[name], fresh[name]) for name in half)
    for name, value in fresh.items():
        torch.testing.assert_close(half[name], value, atol=2e-2, rtol=0)


def test_what_was_trained_from_stored_features_decodes_waveforms(
    training_arguments, make_cache, corpus, tmp_path
):
    asr_train.main(use_cache(training_arguments(tmp_path / "exp"), make_cache()))
    asr_inference_greedy.main(decode_arguments(corpus, tmp_path / "exp", tmp_path / "out"))
    assert len((tmp_path / "out" / "1best_recog" / "text").read_text().splitlines()) == 3


def check(dump: Path, training: list[str], dtype: str = "float32", cache: str = "auto") -> None:
    common = ["--dump_dir", str(dump), "--sets", "train dev", "--cache_dtype", dtype, "--cache", cache]
    cache_features.main(["check", *common, "--", *training])


def test_the_cache_of_the_present_settings_is_found(dump, training_arguments, make_cache, tmp_path, capsys):
    folder = make_cache()
    check(dump, training_arguments(tmp_path / "exp"))
    assert capsys.readouterr().out == f"{folder}\n"


def change_upstream(upstream: Path, changed: Path) -> Path:
    """A copy of an upstream directory with other weights."""
    from safetensors.torch import load_file, save_file

    changed.mkdir()
    for file in upstream.iterdir():
        (changed / file.name).write_bytes(file.read_bytes())
    weights = load_file(upstream / "model.safetensors")
    name = sorted(weights)[-1]
    save_file(weights | {name: weights[name] + 1}, changed / "model.safetensors", {"format": "pt"})
    return changed


def test_a_cache_of_another_upstream_or_cut_is_refused_with_the_reason(
    dump, training_arguments, make_cache, upstream_path, tmp_path, capsys
):
    make_cache()
    other = change_upstream(Path(upstream_path("hf_hubert", True)), tmp_path / "other")
    for change, reason in (
        (f"upstream={other}", "upstream digest: stored"),
        ("num_replaced=1", "layers above the cut: stored '2', now '1'"),
        ("prefix_dtype=bfloat16", "prefix dtype: stored 'float32', now 'bfloat16'"),
    ):
        with pytest.raises(SystemExit):
            check(dump, [*training_arguments(tmp_path / "exp"), "--encoder_conf", change])
        error = capsys.readouterr().err
        assert "holds no features of the present cut" in error and reason in error
        assert "Run stage 2 again" in error
    with pytest.raises(SystemExit):
        check(dump, training_arguments(tmp_path / "exp"), dtype="float16")
    assert "stored in another precision" in capsys.readouterr().err


def test_an_upstream_that_changes_in_its_place_makes_the_cache_stale(
    dump, training_arguments, make_cache, upstream_path, tmp_path, capsys
):
    """Also when the training is started by hand, without the stage's check."""
    place = change_upstream(Path(upstream_path("hf_hubert", True)), tmp_path / "place")
    cache = make_cache("float32", "--encoder_conf", f"upstream={place}")
    arguments = [*training_arguments(tmp_path / "exp"), "--encoder_conf", f"upstream={place}"]
    check(dump, arguments)
    capsys.readouterr()
    (place / "config.json").write_text((place / "config.json").read_text() + "\n")
    for start in (lambda: check(dump, arguments), lambda: asr_train.main(use_cache(arguments, cache))):
        with pytest.raises(SystemExit):
            start()
        assert "upstream digest: stored" in capsys.readouterr().err


def test_changed_audio_makes_the_cache_stale(dump, corpus, training_arguments, make_cache, tmp_path, capsys):
    make_cache()
    soundfile.write(corpus / "u2.flac", 0.1 * np.random.default_rng(1).standard_normal(9600), 16000)
    with pytest.raises(SystemExit):
        check(dump, training_arguments(tmp_path / "exp"))
    error = capsys.readouterr().err
    assert "u2" in error and "u1" not in error and "--cache false" in error


@pytest.mark.parametrize(
    ("more", "reason"),
    [
        (["--encoder_conf", "features=weighted_sum"], "features weighted_sum needs all states"),
        (["--encoder_conf", "exact_padding=false"], "exact_padding: false lets the hidden states"),
        (["--noise_scp", "noise.scp"], "noise_scp changes the waveform"),
        (["--preprocessor_conf", "data_aug_effects=[]"], "data_aug_effects"),
    ],
)
def test_trainings_that_need_the_waveform_go_without_a_cache(
    dump, training_arguments, make_cache, tmp_path, capsys, more, reason
):
    arguments = [*training_arguments(tmp_path / "exp"), *more]
    check(dump, arguments)
    captured = capsys.readouterr()
    assert captured.out == "" and reason in captured.err
    with pytest.raises(SystemExit):
        check(dump, arguments, cache="true")
    assert f"error: --cache true, but {reason}" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        asr_train.main([*use_cache(training_arguments(tmp_path / "exp"), make_cache()), *more])
    assert "this training cannot use the feature cache" in capsys.readouterr().err


def test_waveforms_and_features_are_not_mixed(training_arguments, make_cache, tmp_path, capsys):
    cached = use_cache(training_arguments(tmp_path / "exp"), make_cache())
    mixed = [a if "dev/feats.scp" not in a else f"{tmp_path / 'wav.scp'},speech,sound" for a in cached]
    with pytest.raises(SystemExit):
        asr_train.main(mixed)
    assert "have to be both waveforms, or both features of one cache" in capsys.readouterr().err


def test_features_do_not_depend_on_the_number_of_jobs(make_cache, dump):
    from espnet_wsm.data.features.reader import FeatureReader

    features = {}
    for nj in (1, 3):
        folder = make_cache("float16", nj=nj, changes=None)
        reader = FeatureReader(folder / "train" / "feats.scp")
        features[nj] = {id: reader[id] for id in reader}
        for file in folder.rglob("*"):
            if file.is_file():
                file.unlink()
    assert features[1].keys() == features[3].keys()
    assert all(np.array_equal(features[1][id], features[3][id]) for id in features[1])
