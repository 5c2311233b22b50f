"""Tiny random upstreams in each family's real on-disk form, written by each library's own code."""

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import pytest
import torch

DIM, HEADS, LAYERS = 32, 4, 3
CONV = "[(16, 10, 5)] + [(16, 3, 2)] * 4 + [(16, 2, 2)] * 2"  # HuBERT's kernels and strides, 16 channels


def write_hf(directory: Path, model_type: str, pre_norm: bool) -> Path:
    """A Hugging Face directory as ``save_pretrained`` leaves it."""
    from transformers import (
        HubertConfig,
        HubertModel,
        Wav2Vec2Config,
        Wav2Vec2FeatureExtractor,
        Wav2Vec2Model,
    )

    config_class, model_class = {
        "hubert": (HubertConfig, HubertModel),
        "wav2vec2": (Wav2Vec2Config, Wav2Vec2Model),
    }[model_type]
    config = config_class(
        hidden_size=DIM,
        num_hidden_layers=LAYERS,
        num_attention_heads=HEADS,
        intermediate_size=2 * DIM,
        conv_dim=(16,) * 7,
        num_conv_pos_embeddings=16,
        num_conv_pos_embedding_groups=4,
        feat_extract_norm="layer" if pre_norm else "group",
        do_stable_layer_norm=pre_norm,
    )
    model_class(config).save_pretrained(directory)
    Wav2Vec2FeatureExtractor(do_normalize=True, return_attention_mask=pre_norm).save_pretrained(directory)
    return directory


def write_native(file: Path, model_type: str, pre_norm: bool) -> Path:
    """A file as S3PRL's converter writes it."""
    from s3prl.upstream.hubert.hubert_model import HubertConfig, HubertModel, HubertPretrainingConfig
    from s3prl.upstream.wav2vec2.wav2vec2_model import AudioPretrainingConfig, Wav2Vec2Config, Wav2Vec2Model

    sizes = dict(
        encoder_layers=LAYERS,
        encoder_embed_dim=DIM,
        encoder_ffn_embed_dim=2 * DIM,
        encoder_attention_heads=HEADS,
        conv_feature_layers=CONV,
        conv_pos=16,
        conv_pos_groups=4,
        final_dim=DIM,
        layer_norm_first=pre_norm,
        extractor_mode="layer_norm" if pre_norm else "default",
    )
    state = {}
    if model_type == "hubert":
        model_cfg = HubertConfig(label_rate=50.0, **sizes)
        task_cfg = HubertPretrainingConfig(normalize=pre_norm)
        symbols = [[str(i) for i in range(10)]]
        model = HubertModel(model_cfg, task_cfg, symbols)
        state["dictionaries_symbols"] = symbols
    else:
        model_cfg, task_cfg = Wav2Vec2Config(**sizes, quantize_targets=True), AudioPretrainingConfig()
        task_cfg.normalize = pre_norm
        model = Wav2Vec2Model(model_cfg)
    state |= {
        "task_cfg": asdict(task_cfg),
        "model_cfg": asdict(model_cfg),
        "model_weight": model.state_dict(),
    }
    file.parent.mkdir(parents=True, exist_ok=True)
    torch.save(state, file)
    return file


WRITERS: dict[str, tuple[Callable[[Path, str, bool], Path], str, str]] = {
    "hf_hubert": (write_hf, "hubert", "hf_hubert_custom"),
    "hf_wav2vec2": (write_hf, "wav2vec2", "hf_wav2vec2_custom"),
    "hubert": (write_native, "hubert", "hubert_local"),
    "wav2vec2": (write_native, "wav2vec2", "wav2vec2_local"),
}


@pytest.fixture(scope="session")
def upstream_path(tmp_path_factory) -> Callable[[str, bool], tuple[str, str]]:
    """``upstream_path(family, pre_norm)`` gives S3PRL's name and the path of a tiny random upstream."""
    root = tmp_path_factory.mktemp("upstreams")

    def get(family: str, pre_norm: bool) -> tuple[str, str]:
        write, model_type, name = WRITERS[family]
        path = root / f"{family}_{'pre' if pre_norm else 'post'}"
        if not path.exists():
            torch.manual_seed(1)
            write(path, model_type, pre_norm)
        return name, str(path)

    return get


@pytest.fixture(params=list(WRITERS))
def family_name(request) -> str:
    """Each family in turn."""
    return request.param


@pytest.fixture(params=[False, True], ids=["post_norm", "pre_norm"])
def pre_norm(request) -> bool:
    """Both places of the norm."""
    return request.param


@pytest.fixture
def wavs() -> list[torch.Tensor]:
    """Three waveforms of different length: 1 s, 0.6 s, 0.3 s."""
    generator = torch.Generator().manual_seed(7)
    return [0.1 * torch.randn(n, generator=generator) for n in (16000, 9600, 4800)]
