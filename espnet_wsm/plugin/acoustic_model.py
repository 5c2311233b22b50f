"""What greedy decoding, and whoever learns from a trained model, runs of it: encoder and CTC output."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from espnet2.asr.ctc import CTC
from torch import Tensor, nn

from espnet_wsm.errors import UserError
from espnet_wsm.plugin.arguments import MODEL, NAME, STEPS
from espnet_wsm.plugin.encoder import WsmS3prlEncoder

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
        if encoder.interctc_use_conditioning:
            encoder.conditioning_layer = nn.Linear(len(token_list), encoder.output_size())

    def encode(self, speech: Tensor, speech_lengths: Tensor) -> tuple[Tensor, Tensor]:
        """(B, N) samples, of which (B,) are valid, to (B, T, D) and (B,) number of valid frames."""
        speech = speech[:, : int(speech_lengths.max())]
        encoded, lengths, _ = self.encoder(speech, speech_lengths, ctc=self.ctc)
        return encoded[0] if isinstance(encoded, tuple) else encoded, lengths


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


def build_model(
    conf: Mapping[str, Any], dtype: str | None = None, cache: Path | None = None
) -> AcousticModel:
    """The model of a configuration of :func:`fits`, with new weights above the cut.

    Args:
        conf: the content of ESPnet's ``config.yaml``.
        dtype: name of torch's; None for what the configuration says.
        cache: folder of a stored cut, whose features are then the input; the upstream is not loaded.

    Raises:
        UserError: configuration, upstream and cut do not fit together.
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


def load_state(model: AcousticModel, state: Mapping[str, Tensor], model_file: Path) -> None:
    """Give a model the weights of a checkpoint.

    Args:
        model: of :func:`build_model`; it is changed.
        state: the content of the checkpoint, that of a decoder included.
        model_file: its name, for messages.

    Raises:
        UserError: it does not fit the model or its upstream.
    """
    given = {
        name: value for name, value in state.items() if not name.startswith("decoder.") and name != STEPS
    }
    try:
        model.load_state_dict(given)
    except RuntimeError as error:  # torch names the tensors, one a line
        raise UserError(
            f"{model_file} does not fit its config.yaml: {' '.join(str(error).split())}"
        ) from error
