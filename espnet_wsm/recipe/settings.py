"""What follows from the options of an ASR recipe, as assignments for the shell of a stage.

Example:
  eval "$(python -m espnet_wsm.recipe.settings experiment training -- --tag first --mixer wsm ...)"
"""

import hashlib
import json
import os
import re
import shlex
import sys
from argparse import Namespace
from collections.abc import Callable
from pathlib import Path
from typing import Any

from espnet_wsm.arms import STUDENTS, TRANSFER_STEPS
from espnet_wsm.errors import UserError, find_foreign_package, report_user_errors
from espnet_wsm.files import read_yaml

UPSTREAM_IN_THE_BOX = "../../debian_multi/ssl1/hubert_debian_multi"
SEARCHES = ("greedy", "beam", "lm")
REST = "rest"  # value of --unlabelled: what --train_minutes leaves of the training set
AUTO = "auto"  # value of --transfer
PSEUDO_CONFIDENCE = "0.25"  # as lib.sh has it; another one is part of a name


def _base_name(path: str, suffix: str = "") -> str:
    return os.path.basename(path.rstrip("/")).removesuffix(suffix)


def _name_directory(options: Namespace) -> str:
    """The directory of speech without text that stage 2 stores; empty for none."""
    return "" if options.unlabelled == REST else options.unlabelled


def _name_heard(options: Namespace) -> str:
    """Its name, if the first model, or its upstream, learns from it; else empty."""
    name = _base_name(_name_directory(options))
    heard = name and (options.convert != "0" or options.guide or count_transfer_steps(options) > 0)
    return name if heard else ""


def _name_guide(options: Namespace) -> str:
    """The experiment of the guide, which may be given by one of its checkpoints."""
    path = options.guide
    return _base_name(os.path.dirname(path) if path.endswith(".pth") else path).removeprefix("asr_")


def count_rounds(options: Namespace) -> int:
    """How many models after the first one learn from what the one before has transcribed.

    Raises:
        UserError: there is nothing to transcribe, or one of the numbers cannot be.
    """
    if not options.pseudo_rounds.isdecimal():
        raise UserError(f"--pseudo_rounds {options.pseudo_rounds} has to be a number of rounds, 0 for none")
    if options.unlabelled == REST and not options.train_minutes:
        raise UserError(
            f"--unlabelled {REST} is what --train_minutes leaves of the training set: give that option too "
            f"(a directory of that name is ./{REST})"
        )
    rounds = int(options.pseudo_rounds)
    if rounds and options.guide:
        raise UserError(
            f"--pseudo_rounds {rounds} and --guide are two ways to learn from speech without text: give one"
        )
    if rounds and not options.unlabelled:
        raise UserError(
            f"--pseudo_rounds {rounds} needs --unlabelled, speech to transcribe: a Kaldi data directory, or "
            f"{REST} with --train_minutes"
        )
    if not re.fullmatch(r"0|0?\.[0-9]+", options.pseudo_confidence):
        raise UserError(
            f"--pseudo_confidence {options.pseudo_confidence} has to be a share from 0 to below 1 of the "
            "utterances, those of least confidence, to be left out"
        )
    return rounds


def list_rounds(options: Namespace) -> list[str]:
    """The folders of the models: the one that is trained on transcripts alone, and that of each round."""
    check_conversion(options)
    base, rounds = name_experiment(options), count_rounds(options)
    more = []
    if not options.tag:
        named = _name_heard(options)  # in the name of the first one
        more.append("" if named else _base_name(_name_directory(options)))
        more.append(options.unlabelled if options.unlabelled == REST else "")
        changed = options.pseudo_confidence != PSEUDO_CONFIDENCE
        more.append(f"without{options.pseudo_confidence}" if changed else "")
    return [base, *("_".join(filter(None, [f"{base}_pseudo{n}", *more])) for n in range(1, rounds + 1))]


def count_transfer_steps(options: Namespace) -> int:
    """In how many steps the blocks first learn what the attention in their place gives.

    Raises:
        UserError: ``transfer`` is neither a number nor ``auto``, or a configuration cannot be read.
    """
    if options.transfer == AUTO:
        learns = (
            options.convert == "0"
            and options.cache != "false"
            and (_find_value(options, "mixer") or "wsm") in STUDENTS
        )
        return TRANSFER_STEPS if learns else 0
    if not options.transfer.isdecimal():
        raise UserError(
            f"--transfer {options.transfer} has to be a number of steps, 0 for none, or {AUTO}: "
            f"{TRANSFER_STEPS} where blocks can learn"
        )
    return int(options.transfer)


def name_experiment(options: Namespace) -> str:
    """The folder of the experiment, named by ``tag`` or by the options that differ from ``train_config``."""
    parts = [
        _base_name(options.train_config, ".yaml"),
        options.token_type + (options.nbpe if options.token_type != "char" else ""),
        "bytes" if options.byte_fallback != "false" else "",
        options.convert != "0" and f"converted_{options.convert}",
        options.mixer,
        options.num_replaced and f"k{options.num_replaced}",
        options.window and f"w{options.window}",
        options.trainable,
        options.transfer != AUTO and options.convert == "0" and f"transfer{options.transfer}",
        _name_heard(options),
        options.guide and options.unlabelled == REST and REST,
        options.guide and f"guided_by_{_name_guide(options)}",
        _base_name(options.upstream_config, ".yaml"),
        _base_name(options.upstream),
        "sp" if options.speed_perturb else "",
        options.join_to and f"join{options.join_to}",
        options.train_minutes and f"{options.train_minutes}min",
        options.train_set if options.train_set != "train" else "",
    ]
    name = options.tag or "_".join(filter(None, parts))
    return f"{options.exp_dir}/asr_{name.removeprefix('asr_')}"


def name_converted(options: Namespace) -> str:
    """The folder of the upstream that ``convert`` makes; one for each ``convert_args``.

    Raises:
        UserError: a configuration does not exist or cannot be read.
    """
    parts = [
        _base_name(_find_value(options, "upstream")),
        options.convert,
        options.train_set if options.train_set != "train" else "",
        _base_name(_name_directory(options)),
    ]
    if options.convert_args:
        parts.append(hashlib.sha256(options.convert_args.encode()).hexdigest()[:8])
    return f"{options.exp_dir}/upstream_{'_'.join(filter(None, parts))}"


def check_conversion(options: Namespace) -> None:
    """Refuse what does not go with a conversion, or one that cannot be.

    Raises:
        UserError: says which.
    """
    if options.convert == "0":
        return
    given = f"--convert {options.convert}"
    if options.convert != "all" and not (options.convert.isdecimal() and int(options.convert) > 0):
        raise UserError(f"{given} has to be a number of layers, all, or 0 for none")
    if options.mixer not in ("", "kept"):
        raise UserError(
            f"{given} trains the blocks that are there then, mixer kept: omit --mixer {options.mixer}; to "
            f'choose the blocks, give --convert_args "--mixer {options.mixer}"'
        )
    if options.window:
        raise UserError(
            f"{given} settles the windows: instead of --window {options.window} give "
            f'--convert_args "--window {options.window}"'
        )
    if options.transfer not in (AUTO, "0"):
        raise UserError(
            f"{given} and --transfer {options.transfer} are two ways to learn from attention: give one"
        )


def list_training_arguments(options: Namespace) -> list[str]:
    """The arguments of asr_train in stage 3, according to which stage 2 stores features.

    Raises:
        UserError: a configuration does not exist or cannot be read.
    """
    arguments = list_parent_arguments(options)
    if options.convert != "0":
        for each in (f"upstream={name_converted(options)}", "mixer=kept"):
            arguments += ["--encoder_conf", each]
    return arguments


def list_parent_arguments(options: Namespace) -> list[str]:
    """The same, with the upstream of which ``convert`` makes another one.

    Raises:
        UserError: a configuration does not exist or cannot be read.
    """
    configuration = _read_configuration("train_config", options.train_config)
    arguments = ["--config", options.train_config]
    if options.upstream_config:
        # ESPnet takes only one configuration, so the keys of this one become arguments, which override it.
        for key, value in _read_configuration("upstream_config", options.upstream_config).items():
            if isinstance(value, dict):
                texts = [f"{part}={json.dumps(inner)}" for part, inner in value.items()]
            else:
                texts = [value if isinstance(value, str) else json.dumps(value)]
            arguments += [word for text in texts for word in (f"--{key}", text)]
    upstream = options.upstream
    named = (configuration.get("encoder_conf") or {}).get("upstream")
    if not upstream and not named and not any(word.startswith("upstream=") for word in arguments):
        upstream = UPSTREAM_IN_THE_BOX
    encoder = {"upstream": upstream, "trust": options.trust if options.trust != "false" else ""}
    encoder |= {name: getattr(options, name) for name in ("mixer", "num_replaced", "window", "trainable")}
    for name, value in encoder.items():
        arguments += ["--encoder_conf", f"{name}={value}"] if value else []
    arguments += ["--model_conf", f"guide={options.guide}"] if options.guide else []
    return arguments + options.asr_args.split()


def _find_value(options: Namespace, key: str) -> str:
    """A key of the encoder: what the arguments name last, else that of the configuration; or empty."""
    words = [word for word in list_parent_arguments(options) if word.startswith(f"{key}=")]
    if words:
        return words[-1].removeprefix(f"{key}=").strip('"')
    configuration = _read_configuration("train_config", options.train_config)
    return (configuration.get("encoder_conf") or {}).get(key) or ""


def _read_configuration(option: str, path: str) -> dict[str, Any]:
    if not os.path.isfile(path):
        raise UserError(f"--{option} {path} does not exist")
    try:
        configuration = read_yaml(Path(path)) or {}
        if not isinstance(configuration, dict):
            raise UserError("it is not a mapping of keys to values")
    except UserError as error:
        raise UserError(f"--{option} {path} cannot be read: {error}") from error
    return configuration


def list_converting_arguments(options: Namespace) -> list[str]:
    """The arguments of ``espnet_wsm.stages.convert`` but for the audio."""
    return [*options.convert_args.split(), "--layers", options.convert, "--out", name_converted(options)]


def list_transfer_arguments(options: Namespace) -> list[str]:
    """The arguments of ``espnet_wsm.stages.transfer`` but for its verb.

    Raises:
        UserError: ``transfer`` cannot be.
    """
    return [
        *("--dump_dir", options.dump_dir),
        *("--exp_dir", options.exp_dir),
        *(
            "--sets",
            f"{options.train_set} {options.valid_set}{' unlabelled' if _name_directory(options) else ''}",
        ),
        *("--cache_dtype", options.cache_dtype),
        *("--steps", str(count_transfer_steps(options))),
        *(["--by_default"] if options.transfer == AUTO else []),
        *options.transfer_args.split(),
    ]


def describe_decoding(options: Namespace) -> dict[str, str]:
    """How to decode (``search``) and the folder that stage 4 writes (``out``).

    Each language model has a folder, named with a digest; it needs the text that the experiment was trained
    on (``train_text``).

    Raises:
        UserError: ``search`` is unknown or does not go with ``lm``, or ``lm`` is not a file.
    """
    folders, lm = list_rounds(options), options.lm
    exp = folders[-1]
    search = options.search or ("lm" if lm else "greedy")
    if search not in SEARCHES:
        raise UserError(f"--search has to be greedy, beam or lm, got {search}")
    if search != "lm" and lm:
        raise UserError(f"--lm is for --search lm, not for --search {search}: omit one of the two")
    if search != "lm":
        return {"search": search, "out": f"{exp}/decode_{search}"}
    if not lm:
        needed = "a language model, a text to train it on, or text: the training set's"
        raise UserError(f"--search lm needs --lm: {needed}")
    train_text = f"{options.dump_dir}/raw/{options.train_set}/text"
    if options.train_minutes:
        train_text = f"{folders[0]}/train_{options.train_minutes}min/text"
    source = train_text if lm == "text" else lm
    if not os.path.isfile(source):
        raise UserError(f"--lm {lm}: {source} is not a file; name a language model, or a text to train it on")
    with open(source, "rb") as content:
        digest = hashlib.file_digest(content, "sha256")
    digest.update(f"{options.ngram_order}\n".encode())
    name = re.sub(rb"[^0-9A-Za-z._-]", b"_", os.fsencode(_base_name(lm))).decode()
    out = f"{exp}/decode_lm_{name}_{digest.hexdigest()[:8]}"
    return {"search": search, "out": out, "train_text": train_text}


# What a stage may ask for, and the variables of the shell that it sets.
SETTINGS: dict[str, Callable[[Namespace], dict[str, Any]]] = {
    "experiment": lambda options: {"exp": list_rounds(options)[-1]},  # what is decoded
    "rounds": lambda options: {"rounds": list_rounds(options)},
    "parent": lambda options: {"parent": list_parent_arguments(options)},
    "converting": lambda options: {
        "converted": name_converted(options),
        "converting": list_converting_arguments(options),
    },
    "training": lambda options: {"training": list_training_arguments(options)},
    "steps": lambda options: {"transfer_steps": str(count_transfer_steps(options))},
    "transfer": lambda options: {"transferring": list_transfer_arguments(options)},
    "decoding": describe_decoding,
}


@report_user_errors
def main(argv: list[str] | None = None) -> None:
    """Entry point: names of ``SETTINGS``, then after ``--`` each option of the recipe with its value."""
    argv = sys.argv[1:] if argv is None else argv
    if fault := find_foreign_package():
        raise UserError(fault)
    names, words = argv[: argv.index("--")], argv[argv.index("--") + 1 :]
    options = Namespace(**{name[2:]: value for name, value in zip(words[::2], words[1::2], strict=True)})
    for name in names:
        for variable, value in SETTINGS[name](options).items():
            text = shlex.quote(value) if isinstance(value, str) else f"({shlex.join(value)})"
            sys.stdout.buffer.write(os.fsencode(f"{variable}={text}\n"))


if __name__ == "__main__":
    main()
