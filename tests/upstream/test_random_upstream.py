"""The tool that writes a random upstream."""

import pytest
import torch
from safetensors.torch import load_file

from espnet_wsm.bin.make_random_upstream import main
from espnet_wsm.upstream import load_upstream
from espnet_wsm.upstream.random_upstream import describe_upstream

SMALL = ["--num_layers", "2", "--dim", "32", "--heads", "2", "--conv_dim", "16"]


@pytest.mark.parametrize(
    ("model_type", "family_name", "spoken"),
    [
        ("hubert", "hf_hubert", "HuBERT"),
        ("wav2vec2", "hf_wav2vec2", "wav2vec 2.0"),
        ("wavlm", "hf_wavlm", "WavLM"),
    ],
)
def test_it_writes_an_upstream_that_loads_and_describes_it(tmp_path, capsys, model_type, family_name, spoken):
    main(["--out", str(tmp_path / "up"), "--model_type", model_type, *SMALL])
    expert, checkpoint = load_upstream(str(tmp_path / "up"))
    family = checkpoint.family
    assert family.name == family_name
    assert len(family.encoder(expert).layers) == 2 and family.dim(expert) == 32
    assert describe_upstream(str(tmp_path / "up")).startswith(
        f"random upstream: {spoken} with random weights"
    )
    assert "never trained on speech" in capsys.readouterr().out
    assert describe_upstream(str(tmp_path)) is None and describe_upstream("xls_r_300m") is None


def test_the_seed_decides_the_weights(tmp_path):
    def weights(out: str, seed: str) -> torch.Tensor:
        main(["--out", str(tmp_path / out), "--seed", seed, *SMALL])
        return load_file(tmp_path / out / "model.safetensors")["encoder.layers.0.attention.q_proj.weight"]

    assert torch.equal(weights("a", "3"), weights("b", "3"))
    assert not torch.equal(weights("a", "3"), weights("c", "4"))


def test_a_directory_left_half_written_is_written_again(tmp_path):
    main(["--out", str(tmp_path / "up"), *SMALL])
    (tmp_path / "up" / "model.safetensors").unlink()
    (tmp_path / "up" / "preprocessor_config.json").unlink()
    main(["--out", str(tmp_path / "up"), *SMALL])
    load_upstream(str(tmp_path / "up"))


def test_it_does_not_overwrite_other_things(tmp_path, capsys):
    (tmp_path / "thesis.tex").write_text("x")
    with pytest.raises(SystemExit):
        main(["--out", str(tmp_path), *SMALL])
    assert "was not written by this tool" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(["--out", str(tmp_path / "new"), "--dim", "30", "--heads", "4"])
    assert "dim=30 and heads=4" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(["--out", str(tmp_path / "new"), "--model_type", "bert"])
    assert "model_type has to be one of hubert, wav2vec2, wavlm, got 'bert'" in capsys.readouterr().err
