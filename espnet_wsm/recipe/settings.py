"""What follows from the options of an ASR recipe: names of folders, arguments of commands.

Every value is text, as it was typed. A stage asks for names of ``SETTINGS`` by ``settle`` of
``egs/common/lib.sh``.
"""

import hashlib
import json
import os
import re
from argparse import Namespace
from collections.abc import Callable
from pathlib import Path
from typing import Any

from espnet_wsm.errors import UserError
from espnet_wsm.files import read_yaml

RECIPE_SPELLING = "conf/text.yaml"
UPSTREAM_IN_THE_BOX = "../../debian_multi/ssl1/hubert_debian_multi"
SEARCHES = ("greedy", "beam", "lm")


def _base_name(path: str, suffix: str = "") -> str:
    return os.path.basename(path.rstrip("/")).removesuffix(suffix)


def _check_file(option: str, path: str) -> None:
    if not os.path.isfile(path):
        raise UserError(f"--{option} {path} does not exist")


def name_experiment(options: Namespace) -> str:
    """The folder of the experiment, named by ``tag`` or by the options that differ from ``train_config``."""
    name = options.tag or "_".join(
        filter(
            None,
            [
                _base_name(options.train_config, ".yaml"),
                options.token_type + (options.nbpe if options.token_type != "char" else ""),
                "bytes" if options.byte_fallback != "false" else "",
                options.mixer,
                options.num_replaced and f"k{options.num_replaced}",
                options.window and f"w{options.window}",
                options.trainable,
                _base_name(options.upstream_config, ".yaml"),
                _base_name(options.upstream),
                "sp" if options.speed_perturb else "",
                options.train_minutes and f"{options.train_minutes}min",
                options.train_set if options.train_set != "train" else "",
            ],
        )
    )
    return f"{options.exp_dir}/asr_{name.removeprefix('asr_')}"


def find_text_config(options: Namespace) -> str:
    """How transcripts are spelt: ``text_config``, else the recipe's, else nothing.

    Raises:
        UserError: the file of the option does not exist.
    """
    if options.text_config:
        _check_file("text_config", options.text_config)
        return options.text_config
    return RECIPE_SPELLING if os.path.isfile(RECIPE_SPELLING) else ""


def list_text_options(options: Namespace) -> list[str]:
    """The arguments that tell a command how transcripts are spelt."""
    given = {
        "--text_config": find_text_config(options),
        "--lang": options.lang,
        "--non_linguistic_symbols": options.nlsyms_txt,
    }
    return [word for name, value in given.items() if value for word in (name, value)]


def list_training_arguments(options: Namespace) -> list[str]:
    """The arguments of asr_train in stage 3, according to which stage 2 stores features.

    Raises:
        UserError: a configuration does not exist or cannot be read.
    """
    configuration = _read_configuration("train_config", options.train_config)
    arguments = ["--config", options.train_config]
    if options.upstream_config:
        arguments += _list_overrides(_read_configuration("upstream_config", options.upstream_config))
    named = any(word.startswith("upstream=") for word in arguments)
    upstream = options.upstream
    if not upstream and not named and not (configuration.get("encoder_conf") or {}).get("upstream"):
        upstream = UPSTREAM_IN_THE_BOX
    encoder = {"upstream": upstream, "trust": options.trust if options.trust != "false" else ""}
    encoder |= {name: getattr(options, name) for name in ("mixer", "num_replaced", "window", "trainable")}
    for name, value in encoder.items():
        arguments += ["--encoder_conf", f"{name}={value}"] if value else []
    return arguments + options.asr_args.split()


def _read_configuration(option: str, path: str) -> dict[str, Any]:
    _check_file(option, path)
    try:
        configuration = read_yaml(Path(path)) or {}
        if not isinstance(configuration, dict):
            raise UserError("it is not a mapping of keys to values")
    except UserError as error:
        raise UserError(f"--{option} {path} cannot be read: {error}") from error
    return configuration


def _list_overrides(configuration: dict[str, Any]) -> list[str]:
    """The keys of a second configuration as arguments, which override the first: ESPnet takes only one."""
    arguments = []
    for key, value in configuration.items():
        if isinstance(value, dict):
            texts = [f"{part}={json.dumps(inner)}" for part, inner in value.items()]
        else:
            texts = [value if isinstance(value, str) else json.dumps(value)]
        arguments += [word for text in texts for word in (f"--{key}", text)]
    return arguments


def find_search(options: Namespace) -> str:
    """How to decode: ``search``, else with the language model if there is one.

    Raises:
        UserError: ``search`` is unknown, or does not go with ``lm``.
    """
    search = options.search or ("lm" if options.lm else "greedy")
    if search not in SEARCHES:
        raise UserError(f"--search has to be greedy, beam or lm, got {search}")
    if options.lm and search != "lm":
        raise UserError(f"--lm is for --search lm, not for --search {search}: omit one of the two")
    if search == "lm" and not options.lm:
        raise UserError(
            "--search lm needs --lm: a language model, a text to train it on, or text: the training set's"
        )
    return search


def find_train_text(options: Namespace) -> str:
    """The transcripts that the experiment was trained on."""
    if options.train_minutes:
        return f"{name_experiment(options)}/train_{options.train_minutes}min/text"
    return f"{options.dump_dir}/raw/{options.train_set}/text"


def name_decoding(options: Namespace) -> str:
    """The folder that stage 4 writes; each language model has its own, named with a digest.

    Raises:
        UserError: ``lm`` is not a file, or as in :func:`find_search`.
    """
    search = find_search(options)
    folder = f"{name_experiment(options)}/decode_{search}"
    if search != "lm":
        return folder
    source = find_train_text(options) if options.lm == "text" else options.lm
    if not os.path.isfile(source):
        raise UserError(
            f"--lm {options.lm}: {source} is not a file; name a language model, or a text to train it on"
        )
    with open(source, "rb") as content:
        digest = hashlib.file_digest(content, "sha256")
    digest.update(f"{options.ngram_order}\n".encode())
    name = re.sub(rb"[^0-9A-Za-z._-]", b"_", os.fsencode(_base_name(options.lm))).decode()
    return f"{folder}_{name}_{digest.hexdigest()[:8]}"


# The names that stage scripts know them by.
SETTINGS: dict[str, Callable[[Namespace], str | list[str]]] = {
    "exp": name_experiment,
    "text_config": find_text_config,
    "text_options": list_text_options,
    "training": list_training_arguments,
    "search": find_search,
    "train_text": find_train_text,
    "out": name_decoding,
}
