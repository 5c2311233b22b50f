"""The models of a benchmark: upstreams of true size with random weights, fine-tuned today's way and ours."""

import os
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from espnet_wsm.arms import HALF_WIDTH
from espnet_wsm.benchmark.alternatives import build_alternative
from espnet_wsm.benchmark.config import REMOVED, Arm, BenchmarkConfig
from espnet_wsm.frames import SAMPLE_RATE
from espnet_wsm.upstream.families.contract import FamilyContract

# Arguments of transformers' Wav2Vec2Config, or of that of ``model_type``, beside its defaults, which are
# those of wav2vec2-base. LayerDrop is off: with it S3PRL gets fewer hidden states than layers and stops.
ARCHITECTURES: dict[str, dict[str, Any]] = {
    "wav2vec2_base": {"layerdrop": 0.0},
    "xls_r_300m": {
        "layerdrop": 0.0,
        "hidden_size": 1024,
        "num_hidden_layers": 24,
        "num_attention_heads": 16,
        "intermediate_size": 4096,
        "feat_extract_norm": "layer",
        "do_stable_layer_norm": True,
        "conv_bias": True,
    },
    "whisper_base": {
        "model_type": "whisper",
        "d_model": 512,
        "encoder_layers": 6,
        "encoder_attention_heads": 8,
        "encoder_ffn_dim": 2048,
        "decoder_layers": 1,  # nothing here uses it
        "decoder_attention_heads": 8,
        "decoder_ffn_dim": 8,
        "vocab_size": 256,
        "pad_token_id": 0,
        "bos_token_id": 1,
        "eos_token_id": 2,
        "decoder_start_token_id": 1,
    },
    "tiny": {
        "layerdrop": 0.0,
        "hidden_size": 48,
        "num_hidden_layers": 4,
        "num_attention_heads": 4,
        "intermediate_size": 96,
        "conv_dim": (32,) * 7,
        "num_conv_pos_embeddings": 16,
        "num_conv_pos_embedding_groups": 4,
    },
}


def write_upstream(folder: Path, architecture: str, seed: int, with_native: bool) -> Path:
    """Write an upstream with random weights as transformers does, and as S3PRL's converter does.

    Args:
        folder: exists; what is there already is kept and used again.
        architecture: a key of :data:`ARCHITECTURES`.
        seed: of the weights.
        with_native: whether S3PRL's own form is needed too, a file beside with the suffix ``.pt``.

    Returns:
        the folder in transformers' form, for ``hf_wav2vec2_custom``.
    """
    path = folder / f"{architecture}_{seed}"
    torch.manual_seed(seed)
    if not (path / "preprocessor_config.json").exists():
        _write_hf(path, architecture)
    if with_native and not path.with_suffix(".pt").exists():
        _write_native(path.with_suffix(".pt"), architecture)
    return path


def _write_hf(folder: Path, architecture: str) -> None:
    from transformers import AutoConfig, AutoModel, Wav2Vec2FeatureExtractor, WhisperFeatureExtractor
    from transformers.utils import logging as transformers_logging

    transformers_logging.disable_progress_bar()
    config = AutoConfig.for_model(**{"model_type": "wav2vec2", **ARCHITECTURES[architecture]})
    AutoModel.from_config(config).save_pretrained(folder)
    if config.model_type == "whisper":
        extractor = WhisperFeatureExtractor()
    else:
        extractor = Wav2Vec2FeatureExtractor(do_normalize=True, return_attention_mask=True)
    extractor.save_pretrained(folder)  # last, as the sign that the folder is whole


def _write_native(file: Path, architecture: str) -> None:
    from s3prl.upstream.wav2vec2.wav2vec2_model import AudioPretrainingConfig, Wav2Vec2Config, Wav2Vec2Model
    from transformers import Wav2Vec2Config as HfConfig

    hf = HfConfig(**ARCHITECTURES[architecture])
    convolutions = list(zip(hf.conv_dim, hf.conv_kernel, hf.conv_stride, strict=True))
    model_cfg = Wav2Vec2Config(
        encoder_layers=hf.num_hidden_layers,
        encoder_embed_dim=hf.hidden_size,
        encoder_ffn_embed_dim=hf.intermediate_size,
        encoder_attention_heads=hf.num_attention_heads,
        dropout=hf.hidden_dropout,
        attention_dropout=hf.attention_dropout,
        activation_dropout=hf.activation_dropout,
        conv_feature_layers=str(convolutions),
        conv_bias=hf.conv_bias,
        conv_pos=hf.num_conv_pos_embeddings,
        conv_pos_groups=hf.num_conv_pos_embedding_groups,
        extractor_mode="layer_norm" if hf.feat_extract_norm == "layer" else "default",
        layer_norm_first=hf.do_stable_layer_norm,
        final_dim=hf.codevector_dim,
        quantize_targets=True,
    )
    task_cfg = AudioPretrainingConfig()
    task_cfg.normalize = True
    state = {
        "task_cfg": asdict(task_cfg),
        "model_cfg": asdict(model_cfg),
        "model_weight": Wav2Vec2Model(model_cfg).state_dict(),
    }
    partial = file.with_suffix(".partial")
    torch.save(state, partial)
    os.replace(partial, file)


class AsrModel(nn.Module):
    """What encodes, and ESPnet's CTC head on it.

    Args:
        body: ``(input, lengths) -> (encoded (B, T, D), lengths, ...)``: S3prlFrontend or WsmS3prlEncoder.
        dim: D.
        vocab_size: outputs of the head.
    """

    def __init__(self, body: nn.Module, dim: int, vocab_size: int):
        super().__init__()
        from espnet2.asr.ctc import CTC

        self.body = body
        self.ctc = CTC(vocab_size, dim)

    def encode(self, x: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """(B, N) waveforms or (B, T, D) features with their lengths to (B, T, D) and lengths."""
        encoded, encoded_lengths = self.body(x, lengths)[:2]
        return encoded, encoded_lengths


def freeze_as_espnet(model: nn.Module, freeze_param: list[str]) -> None:
    """ESPnet's rule for ``freeze_param``: exact names or dotted prefixes."""
    for pattern in freeze_param:
        for name, parameter in model.named_parameters():
            if name == pattern or name.startswith(pattern + "."):
                parameter.requires_grad = False


def list_freeze_params(model: nn.Module, trained: list[nn.Module]) -> list[str]:
    """The fewest dotted prefixes that freeze all of ``model`` but the modules ``trained``."""
    kept = {id(p) for module in trained for p in module.parameters()}

    def visit(module: nn.Module, prefix: str) -> Iterator[str]:
        own = list(module.parameters())
        if own and not any(id(p) in kept for p in own):
            yield prefix
            return
        for name, parameter in module.named_parameters(recurse=False):
            if id(parameter) not in kept:
                yield f"{prefix}.{name}"
        for name, child in module.named_children():
            if id(child) not in whole:
                yield from visit(child, f"{prefix}.{name}")

    whole = {id(module) for module in trained}
    return [pattern for name, child in model.named_children() for pattern in visit(child, name)]


def build_model(arm: Arm, config: BenchmarkConfig, upstream: Path) -> AsrModel:
    """The arm's model, with what does not train frozen in its way.

    Raises:
        UserError: from the upstream, the surgery or the encoder.
    """
    torch.manual_seed(config.seed)
    conf = {
        "upstream": str(upstream.with_suffix(".pt") if arm.way == "today_native" else upstream),
        "num_replaced": config.num_replaced,
        "mixer": arm.mixer,
        "trainable": arm.trainable,
        **{"windows": HALF_WIDTH} | config.mixer_conf | arm.mixer_conf,
    }
    if arm.way == "transformers":
        body, dim = build_alternative(arm, conf["upstream"], config.num_replaced)
        return AsrModel(body, dim, config.vocab_size)
    build = _build_ours if arm.is_ours else _build_today
    return build(arm, conf, config.vocab_size)


def find_block(arm: Arm, model: AsrModel) -> nn.Module | None:
    """What mixes in the highest layer, if it trains and autograd keeps anything inside it."""
    if not arm.is_ours or arm.trainable not in ("layer", "mixer") or arm.recompute == "layer":
        return None
    suffix = model.body.suffix
    return getattr(suffix.layers[-1], suffix.family.attention)


def _build_today(arm: Arm, conf: dict[str, Any], vocab_size: int) -> AsrModel:
    from espnet2.asr.frontend.s3prl import S3prlFrontend

    from espnet_wsm.upstream import WsmConfig, find_checkpoint, replace_attention

    checkpoint = find_checkpoint(conf["upstream"])
    frontend = S3prlFrontend(SAMPLE_RATE, {"upstream": checkpoint.name, "path_or_url": conf["upstream"]})
    frontend.pretrained_params = None  # a second copy of all weights, held for ESPnet's `init:` alone
    expert, family = frontend.upstream.upstream, checkpoint.family
    encoder, dim = family.encoder(expert), family.dim(expert)
    _set_attention(arm, family, expert, encoder.layers)
    layers = encoder.layers[-conf["num_replaced"] :]
    model = AsrModel(frontend, dim, vocab_size)
    trained: list[nn.Module] = [model.ctc]
    if arm.trainable in ("layer", "mixer"):
        replace_attention(layers, family, dim, WsmConfig.from_dict(conf))
    if arm.trainable == "mixer":
        trained += [getattr(layer, family.attention) for layer in layers]
    if arm.trainable == "layer":
        trained += [*layers, *([encoder.layer_norm] if family.has_final_norm(expert) else ())]
    model.requires_grad_(True)  # what ESPnet starts from
    if arm.trainable != "all":
        freeze_as_espnet(model, list_freeze_params(model, trained))
    return model


def _build_ours(arm: Arm, conf: dict[str, Any], vocab_size: int) -> AsrModel:
    from espnet_wsm.plugin.encoder import WsmS3prlEncoder

    conf["recompute"] = arm.recompute
    if arm.trainable == "head":
        removed = arm.mixer == REMOVED
        conf |= {"trainable": "mixer"} | ({"mixer": "drop"} if removed else {"num_replaced": 0})
    encoder = WsmS3prlEncoder(1, **conf)
    expert, family = encoder.prefix.expert, encoder.prefix.family
    _set_attention(arm, family, expert, [*family.encoder(expert).layers, *encoder.suffix.layers])
    if arm.way == "cached":
        encoder.prefix = None
    return AsrModel(encoder, encoder.output_size(), vocab_size)


def _set_attention(arm: Arm, family: FamilyContract, expert: nn.Module, layers: list[nn.Module]) -> None:
    """Implementation and dropout of the attention of all layers, also of those that were cut off."""
    if arm.attention != "sdpa":
        expert.model.set_attn_implementation(arm.attention)
    for layer in layers:
        attention = getattr(layer, family.attention)
        if hasattr(attention, "config"):  # transformers' own: blocks of this project have none
            assert attention.config._attn_implementation == arm.attention
            if arm.attention_dropout is not None:
                attention.dropout = arm.attention_dropout
