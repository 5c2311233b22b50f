"""The part of a trained model that CTC decoding runs, loaded without what only training needs."""

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from espnet2.asr.ctc import CTC
from espnet2.text.abs_tokenizer import AbsTokenizer
from espnet2.torch_utils.safe_torch_load import safe_torch_load
from torch import Tensor, nn

from espnet_wsm.errors import UserError
from espnet_wsm.files import read_written_yaml
from espnet_wsm.plugin.arguments import MODEL, NAME, STEPS
from espnet_wsm.plugin.encoder import WsmS3prlEncoder
from espnet_wsm.recognition.dtypes import DTYPES
from espnet_wsm.upstream import choose_dtype

# Parts of an ESPnet model through which the audio would go, beside the encoder.
OTHER_PARTS = ("frontend", "normalize", "preencoder", "postencoder", "aux_ctc_tasks", "use_adapter")
HEAD = "ctc.ctc_lo.weight"


class AcousticModel(nn.Module):
    """ESPnet's task imports every encoder, decoder and front end that it knows, which takes seconds.

    This is what its model computes until the CTC output, from the same modules with the same names, if the
    configuration is one that this package trains: waveforms into the encoder ``wsm_s3prl``, and its output
    into CTC. A decoder beside CTC is left out, as greedy decoding never runs it.

    Args:
        encoder: the encoder.
        ctc: ESPnet's CTC module.
        token_list: all tokens.
        blank: the one that is CTC's blank.
    """

    def __init__(self, encoder: WsmS3prlEncoder, ctc: CTC, token_list: list[str], blank: str = "<blank>"):
        super().__init__()
        self.encoder, self.ctc, self.token_list = encoder, ctc, token_list
        self.blank_id = token_list.index(blank) if blank in token_list else 0

    def encode(self, speech: Tensor, speech_lengths: Tensor) -> tuple[Tensor, Tensor]:
        """(B, N) samples, of which (B,) are valid, to (B, T, D) and (B,) number of valid frames."""
        encoded, lengths, _ = self.encoder(speech[:, : int(speech_lengths.max())], speech_lengths)
        return encoded, lengths


def fits(conf: Mapping[str, Any]) -> bool:
    """Whether a configuration describes a model that :class:`AcousticModel` can stand for."""
    return (
        conf.get("encoder") == NAME
        and conf.get("model", "espnet") in ("espnet", MODEL)
        and conf.get("input_size") is not None
        and isinstance(conf.get("token_list"), list)
        and not any(conf.get(part) for part in OTHER_PARTS)
        and conf["model_conf"].get("transducer_multi_blank_durations") is None
        and conf.get("decoder") != "transducer"
    )


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
        _load_state(model, state, model_file)
    return model.to(device).eval(), args


def _load_through_espnet(
    train_config: Path, model_file: Path, device: str
) -> tuple[nn.Module, argparse.Namespace]:
    from espnet2.tasks.asr import ASRTask

    from espnet_wsm.plugin import register  # noqa: F401  (the configuration may name our encoder)

    return ASRTask.build_model_from_file(train_config, model_file, device)


def build_model(
    conf: Mapping[str, Any], dtype: str | None = None, cache: Path | None = None
) -> AcousticModel:
    """The model of a configuration of :func:`fits`, with new weights above the cut.

    Args:
        conf: the content of ESPnet's ``config.yaml``.
        dtype: name of torch's; None for what the configuration says.
        cache: as in :func:`load_model`.
    """
    encoder_conf = conf["encoder_conf"] | ({} if cache is None else {"cache": str(cache)})
    encoder_conf |= {} if dtype is None else {"prefix_dtype": dtype}
    encoder = WsmS3prlEncoder(conf["input_size"], **encoder_conf)
    if dtype is not None:
        encoder.suffix_dtype = dtype
        encoder.prefix.put_channels_last()
    tokens = conf["token_list"]
    ctc = CTC(len(tokens), encoder.output_size(), **conf["ctc_conf"])
    return AcousticModel(encoder, ctc, tokens, conf["model_conf"].get("sym_blank", "<blank>"))


def _load_state(model: AcousticModel, state: Mapping[str, Tensor], model_file: Path) -> None:
    given = {
        name: value for name, value in state.items() if not name.startswith("decoder.") and name != STEPS
    }
    try:
        model.load_state_dict(given)
    except RuntimeError as error:  # torch names the tensors, one a line
        raise UserError(
            f"{model_file} does not fit its config.yaml: {' '.join(str(error).split())}"
        ) from error


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
