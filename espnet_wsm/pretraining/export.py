"""Export a pre-trained encoder as a transformers HuBERT directory, which everything else reads."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import nn

from espnet_wsm.data.kaldi.lists import replace_directory
from espnet_wsm.errors import UserError
from espnet_wsm.files import digest_file, write_text
from espnet_wsm.pretraining.records import DAMAGE, read_criterion, read_settings
from espnet_wsm.upstream.families.hf import GENERIC
from espnet_wsm.upstream.record import EXPORTED, RECORD_FILE

# The prefix of torchaudio's model in ESPnet's checkpoint, and transformers' names of its parts.
PREFIX = "encoder.hubert_pretrain_model."
RENAMED = (
    ("wav2vec2.feature_extractor.", "feature_extractor."),
    ("wav2vec2.encoder.feature_projection.", "feature_projection."),
    ("wav2vec2.encoder.transformer.", "encoder."),
    ("mask_generator.mask_embedding", "masked_spec_embed"),
)


def read_training(exp: Path) -> tuple[dict[str, Any], dict[str, torch.Tensor]]:
    """``encoder_conf`` and averaged weights of an experiment of ``hubert_train``.

    Raises:
        UserError: files are missing or damaged, or it is another encoder.
    """
    settings = read_settings(exp / "config.yaml")
    weights = exp / "{}.{}.ave.pth".format(*read_criterion(settings))
    if not weights.is_file():
        raise UserError(f"{weights} does not exist: pre-train first, or name the experiment's folder")
    try:
        return settings["encoder_conf"], dict(torch.load(weights, map_location="cpu", weights_only=True))
    except DAMAGE as error:
        raise UserError(f"{weights} is damaged ({error}): pre-train again") from error


def build_hubert(encoder_conf: dict[str, Any], state: dict[str, torch.Tensor]) -> nn.Module:
    """transformers' ``HubertModel`` with the weights of ESPnet's (torchaudio's) encoder, in eval mode.

    Raises:
        UserError: the weights do not match the configuration.
    """
    from transformers import HubertConfig, HubertModel

    layers = encoder_conf["extractor_conv_layer_config"]
    config = HubertConfig(
        hidden_size=encoder_conf["encoder_embed_dim"],
        num_hidden_layers=encoder_conf["encoder_num_layers"],
        num_attention_heads=encoder_conf["encoder_num_heads"],
        intermediate_size=encoder_conf["encoder_ff_interm_features"],
        conv_dim=[channels for channels, _, _ in layers],
        conv_kernel=[kernel for _, kernel, _ in layers],
        conv_stride=[stride for _, _, stride in layers],
        conv_bias=encoder_conf["extractor_conv_bias"],
        feat_extract_norm=encoder_conf["extractor_mode"].removesuffix("_norm"),
        do_stable_layer_norm=encoder_conf["encoder_layer_norm_first"],
        num_conv_pos_embeddings=encoder_conf["encoder_pos_conv_kernel"],
        num_conv_pos_embedding_groups=encoder_conf["encoder_pos_conv_groups"],
    )
    renamed = {}
    for name, value in state.items():
        inner = name.removeprefix(PREFIX)
        for old, new in RENAMED:
            if inner.startswith(old):
                renamed[new + inner.removeprefix(old)] = value
    model = HubertModel(config)
    try:
        model.load_state_dict(renamed)
    except RuntimeError as error:
        raise UserError(f"the weights do not fit encoder_conf: {error}") from error
    return model.eval()


def refuse_foreign(directory: Path) -> None:
    """Refuse a directory in which an export would overwrite something else.

    Raises:
        UserError: ``directory`` is a file, or holds anything but an upstream with its record.
    """
    if directory.is_file() or (
        directory.is_dir() and any(directory.iterdir()) and not (directory / RECORD_FILE).is_file()
    ):
        raise UserError(f"{directory} holds something else, not an exported upstream: give a new folder")


def save_upstream(
    model: nn.Module,
    directory: Path,
    exp: Path,
    describe: Callable[[Path], dict[str, str]] = lambda _: {},
) -> None:
    """Write a model in float16 with the files needed to load it, and ``upstream.json`` with their digests.

    The directory is written atomically; an earlier export there is replaced.

    Args:
        model: result of :func:`build_hubert`.
        directory: directory to write.
        exp: the experiment that the model comes from, for the record.
        describe: returns further texts by file name, given the directory with the model's files.

    Raises:
        UserError: as :func:`refuse_foreign`.
    """
    from transformers import Wav2Vec2FeatureExtractor
    from transformers.utils import logging as transformers_logging

    transformers_logging.disable_progress_bar()
    refuse_foreign(directory)

    def fill(new: Path) -> None:
        model.half().save_pretrained(new)
        # The waveform is not normalised, as in pre-training; the lowest norm removes its scale.
        Wav2Vec2FeatureExtractor(do_normalize=False, return_attention_mask=False).save_pretrained(new)
        # safetensors makes files that only their owner can read.
        shutil.copymode(new / "config.json", new / "model.safetensors")
        files = sorted(file.name for file in new.iterdir())
        record = {"upstream": GENERIC, EXPORTED: str(exp), "files": files}
        record["sha256"] = {file: digest_file(new / file) for file in files}
        for name, text in describe(new).items():
            write_text(new / name, text.split("\n"))
        write_text(new / RECORD_FILE, [json.dumps(record, indent=2)])

    replace_directory(directory, fill)
