"""Numbers in the arguments of a training: read as YAML 1.2 does, and refused where they are none.

YAML 1.1, which PyYAML reads, takes ``1e-3`` for a text. ESPnet hands it to torch, which fails in stage 3.
"""

import argparse
import math
from collections.abc import Iterator, Mapping, Sequence
from types import SimpleNamespace
from typing import Any

from espnet2.utils import config_argparse, nested_dict_action
from espnet2.utils.types import float_or_none, int_or_none

from espnet_wsm.errors import UserError
from espnet_wsm.files import parse_yaml

# The two modules by which ESPnet reads arguments. What it writes, config.yaml, is YAML 1.1 and read as such.
for _module in (config_argparse, nested_dict_action):
    _module.yaml = SimpleNamespace(safe_load=parse_yaml)

# Settings that hold numbers, flags, null and lists of them, except under these keys.
WORDS: dict[str, tuple[str, ...]] = {
    "optim_conf": ("line_search_fn",),
    "scheduler_conf": ("mode", "threshold_mode", "scale_mode", "anneal_strategy"),
    "specaug_conf": ("time_warp_mode",),
    "ctc_conf": ("ctc_type", "brctc_risk_strategy", "brctc_group_strategy"),
    "model_conf": ("token_list", "sym_space", "sym_blank", "sym_sos", "sym_eos", "guide"),
}
WHOLE_NUMBERS = (
    *("ngpu", "seed", "num_workers", "num_att_plot", "max_epoch", "nbest_averaging_interval", "accum_grad"),
    *("batch_size", "batch_bins", "min_batch_size", "max_batch_size", "valid_batch_size", "valid_batch_bins"),
    *("patience", "log_interval", "num_iters_per_epoch", "input_size"),
)
REAL_NUMBERS = (
    "grad_clip",
    "grad_clip_type",
    "speech_volume_normalize",
    "rir_apply_prob",
    "noise_apply_prob",
)


def read_whole(text: str) -> int:
    """``int``, which also takes 1e6 and 1000000.0."""
    try:
        return int(text)
    except ValueError:
        if (value := float(text)).is_integer():
            return int(value)
        raise


def read_whole_or_none(text: str) -> int | None:
    """The same for options that may be none."""
    return None if text.strip().lower() in ("none", "null", "nil") else read_whole(text)


def parse_training(parser: argparse.ArgumentParser, words: Sequence[str] | None) -> argparse.Namespace:
    """The arguments of an ESPnet task; a whole number may be written as 1e6.

    Raises:
        UserError: what has to be a number is none.
    """
    parser.register("type", int, read_whole)
    parser.register("type", int_or_none, read_whole_or_none)
    args = parser.parse_args(words)
    for action in parser._actions:  # ESPnet does not apply the types to a configuration
        value = getattr(args, action.dest, None)
        if action.type in (int, int_or_none) and isinstance(value, float) and value.is_integer():
            setattr(args, action.dest, int(value))
    refuse_other_than_numbers(vars(args), "the training's arguments")
    return args


def refuse_other_than_numbers(settings: Mapping[str, Any], source: object) -> None:
    """Refuse texts where ESPnet, torch and its optimisers expect numbers.

    Args:
        settings: options of ``asr_train``: texts as on a command line, or values as in a configuration.
        source: the file or the command line that they are from, for messages.

    Raises:
        UserError: names the first key that holds no number.
    """
    for names, read, expected in (
        (WHOLE_NUMBERS, read_whole_or_none, "a whole number"),
        (REAL_NUMBERS, float_or_none, "a number"),
    ):
        for name in settings.keys() & names:
            try:
                read(str(settings[name]))
            except (ValueError, OverflowError) as error:
                raise UserError(f"{source}: {name} has to be {expected}, got {settings[name]!r}") from error
    for name, key, value in _list_other(settings):
        raise UserError(f"{source}: {name}.{key} has to be a number, got {value!r}")


def _list_other(settings: Mapping[str, Any]) -> Iterator[tuple[str, str, str | float]]:
    """The texts, and what is not finite, in the settings of ``WORDS`` that have to be numbers."""
    for name, words in WORDS.items():
        conf = settings.get(name)
        for key, value in conf.items() if isinstance(conf, Mapping) else ():
            for part in value if isinstance(value, (list, tuple)) else (value,):
                odd = isinstance(part, str) or (isinstance(part, float) and not math.isfinite(part))
                if odd and key not in words:
                    yield name, key, part
