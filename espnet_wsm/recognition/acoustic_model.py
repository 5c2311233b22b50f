"""The part of a trained model that CTC decoding runs, loaded without what only training needs."""

import argparse
from pathlib import Path

import torch
from espnet2.text.abs_tokenizer import AbsTokenizer
from espnet2.torch_utils.safe_torch_load import safe_torch_load
from torch import nn

from espnet_wsm.errors import UserError
from espnet_wsm.files import read_written_yaml
from espnet_wsm.plugin.acoustic_model import HEAD, build_model, fits, load_state
from espnet_wsm.plugin.arguments import NAME
from espnet_wsm.recognition.dtypes import DTYPES
from espnet_wsm.upstream import choose_dtype


def load_model(
    train_config: Path,
    model_file: Path,
    device: str = "cpu",
    dtype: str = "trained",
    cache: Path | None = None,
) -> tuple[nn.Module, argparse.Namespace]:
    """A trained model in eval mode, with ``encode``, ``ctc``, ``token_list`` and ``blank_id``; its arguments.

    Args:
        train_config: ESPnet's ``config.yaml`` of the model.
        model_file: its checkpoint.
        device: torch device.
        dtype: precision of the encoder, one of ``DTYPES``; the CTC output is float32. With ``trained`` the
            numbers are to the last bit those of training; with the others even float32 rounds otherwise.
        cache: folder of a stored cut, whose features are then the input; the upstream is not loaded.

    Raises:
        UserError: the model has no CTC output; configuration, checkpoint and upstream do not fit together; or
            there is no such precision.
    """
    if dtype not in DTYPES:
        raise UserError(f"dtype is {dtype!r}: give one of {', '.join(DTYPES)}")
    conf = read_written_yaml(train_config)
    if conf["model_conf"].get("ctc_weight") == 0:
        raise UserError(f"{model_file} has ctc_weight 0: greedy CTC decoding needs a CTC output")
    state = safe_torch_load(model_file, map_location="cpu") if fits(conf) else {}
    if HEAD not in state and cache is not None:
        raise UserError(
            f"{model_file} is no encoder {NAME} with CTC: such a model cannot transcribe from stored features"
        )
    if HEAD not in state:  # another kind of model, or a checkpoint in another wrapping
        if dtype != "trained":
            raise UserError(
                f"dtype is {dtype}, but {model_file} is no encoder {NAME} with CTC alone: leave dtype out"
            )
        model, args = _load_through_espnet(train_config, model_file, device)
    else:
        chosen = None if dtype == "trained" else choose_dtype(dtype, torch.device(device))
        model, args = build_model(conf, chosen, cache), argparse.Namespace(**conf)
        load_state(model, state, model_file)
    return model.to(device).eval(), args


def _load_through_espnet(
    train_config: Path, model_file: Path, device: str
) -> tuple[nn.Module, argparse.Namespace]:
    from espnet2.tasks.asr import ASRTask

    from espnet_wsm.plugin import register  # noqa: F401  (the configuration may name our encoder)

    return ASRTask.build_model_from_file(train_config, model_file, device)


def build_tokenizer(token_type: str, bpemodel: str | None) -> AbsTokenizer:
    """ESPnet's tokenizer of a type; those that this package trains with need not import all others."""
    if token_type == "char":
        from espnet2.text.char_tokenizer import CharTokenizer

        return CharTokenizer()
    if token_type == "bpe":
        from espnet2.text.sentencepiece_tokenizer import SentencepiecesTokenizer

        return SentencepiecesTokenizer(bpemodel)
    from espnet2.text.build_tokenizer import build_tokenizer as build

    return build(token_type=token_type, bpemodel=bpemodel)
