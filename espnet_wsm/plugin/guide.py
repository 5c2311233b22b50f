"""A trained model whose CTC posteriors are soft targets of another one."""

import logging
from pathlib import Path

import torch
from espnet2.torch_utils.safe_torch_load import safe_torch_load
from torch import Tensor
from torch.nn import functional as F

from espnet_wsm.errors import UserError
from espnet_wsm.files import refuse_stand_in
from espnet_wsm.plugin.acoustic_model import HEAD, build_model, fits, load_state
from espnet_wsm.plugin.arguments import NAME
from espnet_wsm.plugin.encoder import IDENTITY_KEY, WsmS3prlEncoder
from espnet_wsm.plugin.experiment import find_experiment
from espnet_wsm.upstream import WsmConfig
from espnet_wsm.upstream.identity import decode_identity
from espnet_wsm.upstream.stored_cut import read_cut


class Guide:
    """CTC tells a model which tokens were said, but of no frame what to say there; a trained model can.

    It is in eval mode and without a gradient, and it is no module, so that it is neither a part of the model
    that it guides nor of that one's checkpoints.

    Args:
        place: folder of its experiment, or a checkpoint in it.
        student: the encoder that it guides, from whose input it reads: waveforms, which it sends through an
            upstream of its own, or stored features.
        tokens: those of the student.

    Raises:
        UserError: there is no such model, or it cannot guide this one: another upstream, other tokens, no CTC
            output, or another cut, where features are stored.
    """

    def __init__(self, place: str, student: WsmS3prlEncoder, tokens: list[str]):
        experiment = find_experiment(Path(place))
        file, conf = experiment.checkpoint, experiment.config
        refuse_stand_in(file)
        state = safe_torch_load(file, map_location="cpu") if fits(conf) else {}
        if HEAD not in state:
            raise UserError(f"{file} is no encoder {NAME} with a CTC output: it cannot guide another model")
        if list(conf["token_list"]) != list(tokens):
            raise UserError(
                f"{file} has other tokens ({len(conf['token_list'])}) than this training ({len(tokens)}): "
                "train one of them with the other's token_type, nbpe and training set"
            )
        _check_upstream(file, state, student)
        with torch.random.fork_rng(devices=[]):  # the student starts as it would without
            logging.info("guide %s:", file)
            self._model = build_model(
                conf | {"encoder_conf": _adapt(file, conf, student)}, cache=student.cache
            )
            load_state(self._model, state, file)
        self._model.requires_grad_(False).eval()

    @torch.no_grad()
    def log_probs(self, speech: Tensor, speech_lengths: Tensor, temperature: float) -> Tensor:
        """(B, T, V) float32 log probabilities of softmax(logits / temperature).

        Args:
            speech: (B, N) samples, or (B, T, D) stored features.
            speech_lengths: (B,) valid ones.
            temperature: above 0.
        """
        model = self._model.to(speech.device)
        encoded, _ = model.encode(speech, speech_lengths)
        return soften(model.ctc.ctc_lo(encoded), temperature)


def _check_upstream(file: Path, state: dict[str, Tensor], student: WsmS3prlEncoder) -> None:
    record = state.get(f"encoder.{IDENTITY_KEY}")  # full checkpoints of earlier versions have none
    identity = None if record is None else decode_identity(record)
    if identity is not None and identity["digest"] != student.checkpoint.digest:
        raise UserError(
            f"{file} was trained on the upstream {identity['upstream']} (digest {identity['digest'][:12]}), "
            f"this training is on {student.checkpoint} ({student.checkpoint.digest[:12]}), whose frames are "
            "others: take a guide of the same upstream"
        )


def _adapt(file: Path, conf: dict, student: WsmS3prlEncoder) -> dict:
    """Its ``encoder_conf``, with the upstream where this training has it."""
    own = student.config
    encoder_conf = {name: value for name, value in conf["encoder_conf"].items() if name != "path"}
    encoder_conf |= {"upstream": own.upstream, "trust": own.trust}
    if student.cache is None:
        return encoder_conf
    cut = read_cut(Path(student.cache))
    below, _ = WsmConfig.from_dict(encoder_conf).place_cut(cut.num_below + cut.num_above)
    if below != cut.num_below:
        raise UserError(
            f"{file} is cut above layer {below}, and the stored features of this training are those above "
            f"layer {cut.num_below}: train with --cache false, or take a guide with the same num_replaced"
        )
    return encoder_conf | {"prefix_dtype": own.prefix_dtype}


def soften(logits: Tensor, temperature: float) -> Tensor:
    """Log probabilities (..., V), float32, of softmax(logits / temperature)."""
    return (logits.float() / temperature).log_softmax(dim=-1)


def find_guidance(logits: Tensor, targets: Tensor, lengths: Tensor, temperature: float) -> Tensor:
    """Divergence of a model's frames from their targets, summed over frames, mean over utterances.

    T^2 sum_t KL(target_t || softmax(logits_t / T)): T^2 keeps the size of the gradient where it is at T = 1
    (Hinton et al., arXiv 1503.02531); the sum over frames is that of Hilmes et al., arXiv 2506.01503, and of
    CTC's loss.

    Args:
        logits: (B, T, V) of the model.
        targets: (B, T, V) log probabilities at this temperature, which get no gradient.
        lengths: (B,) valid frames.
        temperature: T.
    """
    parts = F.kl_div(soften(logits, temperature), targets, reduction="none", log_target=True).sum(dim=-1)
    valid = torch.arange(logits.size(1), device=lengths.device) < lengths.unsqueeze(1)
    return temperature**2 * parts.masked_fill(~valid, 0).sum() / len(logits)
