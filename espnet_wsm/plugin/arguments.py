"""Read the arguments of a training that decide about stored features.

ESPnet's own parser is not used, because importing ESPnet's task takes seconds.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

import yaml
from espnet2.utils.nested_dict_action import NestedDictAction
from espnet2.utils.types import float_or_none, str_or_none

from espnet_wsm.errors import UserError
from espnet_wsm.files import read_yaml
from espnet_wsm.plugin.experiment import find_experiment
from espnet_wsm.plugin.numbers import REAL_NUMBERS, WHOLE_NUMBERS, WORDS, refuse_other_than_numbers
from espnet_wsm.plugin.optimisers import check_optimiser
from espnet_wsm.upstream.config import WsmConfig

# The names of the encoder and of the model in a training configuration.
NAME = "wsm_s3prl"
MODEL = "wsm"
STEPS = "steps"  # of training so far, in the state of a model whose loss depends on them
ESPNETS_CTC_WEIGHT = 0.5  # where model_conf says none
GUIDE_WEIGHT, GUIDE_TEMPERATURE = 0.5, 1.0  # likewise


def read_arguments(training: Sequence[str], checks_optimiser: bool = True) -> argparse.Namespace:
    """The arguments of a training that :func:`find_reason_against_cache` looks at.

    They are read as ESPnet reads them: the configuration gives defaults, and options override it. What has to
    be a number is looked at too, and whether optimiser and scheduler can be made; other errors in the
    arguments are left to ESPnet.

    Args:
        training: arguments of ``asr_train``.
        checks_optimiser: False where this has been done, as making one imports what takes seconds.

    Raises:
        UserError: the configuration cannot be read, or is not a mapping; something has to be a number; or
            optimiser or scheduler cannot be made.
    """
    _check_numbers(training)
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--config", type=Path)
    parser.add_argument("--encoder", type=str_or_none, default="rnn")
    parser.add_argument("--preprocessor", type=str_or_none, default="default")
    parser.add_argument("--speech_volume_normalize", type=float_or_none)
    for name in ("--rir_scp", "--noise_scp"):
        parser.add_argument(name, type=str_or_none)
    parser.add_argument("--optim", default="adadelta")  # ESPnet's
    parser.add_argument("--scheduler", type=str_or_none)
    parser.add_argument("--model", default=MODEL)
    for part in ("encoder", "model", "preprocessor", "optim", "scheduler"):
        parser.add_argument(f"--{part}_conf", action=NestedDictAction, default={})
    args, _ = parser.parse_known_args(training)
    if args.config is None:
        _check_parts(args, "the training's arguments (--asr_args)", checks_optimiser)
        return args
    content = read_yaml(args.config)
    if not isinstance(content, dict):
        raise UserError(f"{args.config} holds no mapping of ESPnet's options")
    refuse_other_than_numbers(content, args.config)
    parser.set_defaults(**{name: content[name] for name in content.keys() & vars(args).keys() - {"config"}})
    args = parser.parse_known_args(training)[0]
    _check_parts(args, f"{args.config}, or the training's arguments (--asr_args)", checks_optimiser)
    return args


def _check_parts(args: argparse.Namespace, source: str, checks_optimiser: bool) -> None:
    """Refuse settings of optimiser, scheduler and model that cannot work."""
    if checks_optimiser:
        check_optimiser(args, source)
    conf = args.model_conf if isinstance(args.model_conf, dict) else {}
    try:
        for key in conf.keys() & {"consistency", "flat_start", "guide"}:
            if args.model != MODEL or (args.encoder != NAME and key != "flat_start"):
                other = f"model {args.model}" if args.model != MODEL else f"encoder {args.encoder}"
                raise UserError(f"{other} has no {key}: leave `model` out, and take `encoder: {NAME}`")
        weight = conf.get("ctc_weight", ESPNETS_CTC_WEIGHT)
        check_steps("flat_start", conf.get("flat_start", 0))
        check_consistency(conf.get("consistency", 0), conf.get("consistency_warmup", 0), weight)
        if args.encoder == NAME:
            check_intermediate(
                (args.encoder_conf or {}).get("interctc_layer_idx"), conf.get("interctc_weight", 0), weight
            )
        guide = choose_guide(
            conf.get("guide"),
            conf.get("guide_weight", GUIDE_WEIGHT),
            conf.get("guide_temperature", GUIDE_TEMPERATURE),
            weight,
        )
        if guide is not None:
            check_guide(guide)
    except UserError as error:
        raise UserError(f"{source}: {error}") from error


def check_steps(key: str, steps: float) -> None:
    """Refuse what is no number of steps under a key of ``model_conf``.

    Raises:
        UserError: names the key.
    """
    if not (steps >= 0 and float(steps).is_integer()):
        raise UserError(f"model_conf.{key} has to be a number of steps, got {steps}")


def check_consistency(weight: float, warmup: float, ctc_weight: float) -> None:
    """Refuse values of ``model_conf`` with which no training can work.

    Raises:
        UserError: names the key.
    """
    if not 0 <= weight < float("inf"):
        raise UserError(f"model_conf.consistency has to be 0 or more, got {weight}")
    check_steps("consistency_warmup", warmup)
    if weight > 0 and ctc_weight != 1:
        raise UserError(
            f"model_conf.consistency compares what CTC predicts, but ctc_weight is {ctc_weight}: set it to "
            "1, or consistency to 0"
        )


def check_intermediate(layers: Sequence[int] | None, weight: float, ctc_weight: float) -> None:
    """Refuse values of ``encoder_conf.interctc_layer_idx`` and ``model_conf.interctc_weight`` that clash.

    Raises:
        UserError: names the keys.
    """
    if not 0 <= weight < 1:
        raise UserError(f"model_conf.interctc_weight has to be at least 0 and below 1, got {weight}")
    if weight > 0 and not layers:
        raise UserError(
            f"model_conf.interctc_weight is {weight}, but encoder_conf.interctc_layer_idx names no layer: "
            "name layers above the cut, or set the weight to 0"
        )
    if layers and (weight == 0 or ctc_weight == 0):
        raise UserError(
            f"encoder_conf.interctc_layer_idx is {layers}, but the CTC of these layers has no weight: set "
            "model_conf.interctc_weight, e.g. to 0.5, and ctc_weight above 0"
        )


def choose_guide(guide: str | None, weight: float, temperature: float, ctc_weight: float) -> str | None:
    """The place of the guide that a training has, None for none, by the values of ``model_conf``.

    Raises:
        UserError: a value cannot be; names the key.
    """
    if guide is not None and not isinstance(guide, str):
        raise UserError(
            f"model_conf.guide has to be the folder of an experiment, or a checkpoint, got {guide}"
        )
    if not 0 <= weight <= 1:
        raise UserError(f"model_conf.guide_weight has to be from 0 to 1, got {weight}")
    if not 0 < temperature < float("inf"):
        raise UserError(f"model_conf.guide_temperature has to be above 0, got {temperature}")
    if not guide or weight == 0:
        return None
    if ctc_weight != 1:
        raise UserError(
            f"model_conf.guide is for what CTC predicts, but ctc_weight is {ctc_weight}: set it to 1, or "
            "guide to null"
        )
    return guide


def check_guide(guide: str) -> None:
    """Refuse what cannot guide any training, without loading it.

    Raises:
        UserError: it is no finished experiment of ours, or has no CTC output.
    """
    try:
        experiment = find_experiment(Path(guide))
        conf, file = experiment.config, experiment.checkpoint
        if conf.get("encoder") != NAME or (conf.get("model_conf") or {}).get("ctc_weight") == 0:
            raise UserError(f"{file} is no encoder {NAME} with a CTC output: it cannot guide another model")
    except UserError as error:
        raise UserError(f"model_conf.guide: {error}") from error


def _check_numbers(training: Sequence[str]) -> None:
    """Refuse options of the command line that have to be numbers."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False, argument_default=argparse.SUPPRESS)
    for name in (*WHOLE_NUMBERS, *REAL_NUMBERS):
        parser.add_argument(f"--{name}")
    for name in WORDS:
        parser.add_argument(f"--{name}", action=NestedDictAction, default={})
    try:
        args, _ = parser.parse_known_args(training)
    except yaml.YAMLError as error:
        reason = " ".join(str(error).split())
        raise UserError(f"the training's arguments (--asr_args) hold what is not YAML: {reason}") from error
    refuse_other_than_numbers(vars(args), "the training's arguments (--asr_args)")


def find_reason_against_cache(args: argparse.Namespace) -> str | None:
    """Why a training with these arguments cannot use stored features, None if it can."""
    if args.encoder != NAME:
        return f"encoder {args.encoder} has no frozen part that could be stored"
    config = WsmConfig.from_dict(args.encoder_conf)
    if not config.exact_padding:
        return "exact_padding: false lets the hidden states of an utterance depend on its batch"
    if config.features != "last":
        return f"features {config.features} needs all states, and a cache holds those below the cut"
    for name in ("rir_scp", "noise_scp", "speech_volume_normalize"):
        if getattr(args, name) is not None:
            return f"{name} changes the waveform"
    if "data_aug_effects" in args.preprocessor_conf:
        return "data_aug_effects of preprocessor_conf changes the waveform"
    if args.preprocessor != "default":
        return f"preprocessor {args.preprocessor} may change the waveform"
    return None
