"""Read the records of a pre-training from its folder: settings, curves, time and devices."""

import inspect
import json
import pickle
import platform
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import yaml

from espnet_wsm.errors import UserError
from espnet_wsm.files import write_text
from espnet_wsm.pretraining.targets import SUMMARY_FILE

DEVICES_FILE = "devices.txt"
ENCODERS = ("wsm_hubert", "torchaudio_hubert")
# Exceptions for a file that is damaged or was written by another program.
DAMAGE = (
    AttributeError, EOFError, KeyError, OSError, RuntimeError, TypeError, ValueError,
    pickle.UnpicklingError, yaml.YAMLError,
)  # fmt: skip
PARTS = ("train", "valid")


@dataclass(frozen=True)
class Measures:
    """Means over an epoch: loss in nats per masked frame, share of masked frames predicted correctly."""

    loss: float
    accuracy: float


@dataclass(frozen=True)
class Iteration:
    """One training of masked prediction.

    Args:
        settings: ESPnet's ``config.yaml``, ``encoder_conf`` with its defaults.
        run: ``command``, ``git`` and ``date`` from ``run.json``.
        devices: description of the devices it ran on.
        features: description of the features that were clustered; empty if that was not recorded.
        num_clusters: number of clusters.
        frames: number of 20 ms frames, by set (train, valid).
        speeds: description of the speeds of copies in the training set.
        steps: number of optimiser steps.
        seconds: duration of training and validation, without start-up.
        epochs: measures by epoch and set.
        averaged: epochs whose weights were averaged, the best first.
    """

    settings: dict[str, Any]
    run: dict[str, str]
    devices: tuple[str, ...]
    features: str
    num_clusters: int
    frames: dict[str, int]
    speeds: str
    steps: int
    seconds: float
    epochs: dict[int, dict[str, Measures]]
    averaged: tuple[int, ...]


def describe_device(ngpu: int) -> str:
    """The GPUs that a training with ``ngpu`` uses, or the CPU, in words.

    Raises:
        UserError: there is no GPU.
    """
    if ngpu > 0:
        if not torch.cuda.is_available():
            raise UserError(
                f"--ngpu {ngpu}, but torch finds no GPU: train with --ngpu 0, or on another machine"
            )
        return f"{ngpu} x {torch.cuda.get_device_name(0)}, torch {torch.__version__}"
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:  # not a Linux system
        lines = []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    name = models[0] if models else platform.machine()
    return f"CPU {name}, {torch.get_num_threads()} threads, torch {torch.__version__}"


def record_device(exp: Path, ngpu: int) -> None:
    """Add the current device to ``devices.txt``, once; a training may be resumed on another."""
    file = exp / DEVICES_FILE
    known = file.read_text(encoding="utf-8").splitlines() if file.is_file() else []
    if (device := describe_device(ngpu)) not in known:
        write_text(file, [*known, device])


def read_iteration(exp: Path) -> Iteration:
    """Read the records of the training in ``exp``.

    The data that ``config.yaml`` names are looked for in the working directory, as in training.

    Raises:
        UserError: a record is missing or damaged.
    """
    config = exp / "config.yaml"
    settings = read_settings(config)
    run = _read(exp / "run.json", _load_run)
    stats = _read(exp / "checkpoint.pth", _load_stats)
    try:
        inputs = {name: Path(path) for path, name, _ in settings["train_data_path_and_name_and_type"]}
        speech, labels = inputs["speech"], inputs["text"]
    except DAMAGE as error:
        raise _damaged(config, error) from error
    summary = labels.parents[1] / SUMMARY_FILE
    targets = _read(summary, _load_json)
    # Where stage 2 of the recipe writes the complete set from which the training set was selected.
    copies = speech.parents[1] / "org" / speech.parent.name / "speed_perturb"
    devices = exp / DEVICES_FILE
    if devices.is_file():
        found = devices.read_text(encoding="utf-8").splitlines()
    else:  # the training was run by espnet2's own hubert_train
        found = ["GPU of a kind that was not recorded" if settings.get("ngpu") else "CPU"]
    try:
        return Iteration(
            settings=settings,
            run=run,
            devices=tuple(found),
            features=targets.get("features", ""),
            num_clusters=targets["train"]["num_clusters"],
            frames={part: targets[part]["frames"] for part in PARTS},
            speeds=copies.read_text(encoding="utf-8").strip() if copies.is_file() else "1.0",
            steps=max(epoch["train"]["total_count"] for epoch in stats.values()),
            seconds=sum(
                epoch[part]["time"]["__timedelta_seconds__"] for epoch in stats.values() for part in PARTS
            ),
            epochs={
                number: {
                    part: Measures(epoch[part]["loss"] / epoch[part]["count_m"], epoch[part]["acc_m"])
                    for part in PARTS
                }
                for number, epoch in sorted(stats.items())
            },
            averaged=_find_averaged(settings, stats),
        )
    except DAMAGE as error:
        raise _damaged(exp, error) from error


def read_settings(config: Path) -> dict[str, Any]:
    """ESPnet's ``config.yaml`` of a pre-training, ``encoder_conf`` with its defaults.

    Raises:
        UserError: the file is missing or damaged, or has another encoder.
    """
    settings = _read(config, lambda file: dict(yaml.safe_load(file.read_text(encoding="utf-8"))))
    encoder = settings.get("encoder")
    if encoder not in ENCODERS:
        raise UserError(f"{config}: encoder {encoder} is not one of {', '.join(ENCODERS)}")
    try:
        read_criterion(settings)
        return settings | {
            "encoder_conf": _read_encoder_defaults() | dict(settings.get("encoder_conf") or {})
        }
    except DAMAGE as error:
        raise _damaged(config, error) from error


def _read_encoder_defaults() -> dict[str, Any]:
    from espnet2.asr.encoder.hubert_encoder import TorchAudioHuBERTPretrainEncoder  # takes seconds

    parameters = inspect.signature(TorchAudioHuBERTPretrainEncoder).parameters.values()
    return {each.name: each.default for each in parameters if each.default is not each.empty}


def read_criterion(settings: dict[str, Any]) -> tuple[str, str]:
    """The set and measure by which epochs were chosen for averaging, as in the averaged model's name."""
    phase, measure, _ = settings["best_model_criterion"][0]
    return phase, measure


def _find_averaged(settings: dict[str, Any], stats: dict[int, Any]) -> tuple[int, ...]:
    """The epochs that ESPnet's ``average_nbest_models`` chose: the n best, or one if there are fewer."""
    phase, measure = read_criterion(settings)
    sign = -1 if settings["best_model_criterion"][0][2] == "max" else 1
    best = sorted(stats, key=lambda epoch: sign * stats[epoch][phase][measure])
    kept = settings["keep_nbest_models"]
    counts = [count for count in (kept if isinstance(kept, list) else [kept]) if count <= len(best)]
    return tuple(best[: max(counts, default=1)])


def _load_json(file: Path) -> dict[str, Any]:
    return dict(json.loads(file.read_text(encoding="utf-8")))


def _load_run(file: Path) -> dict[str, str]:
    record = _load_json(file)
    return {key: str(record[key]) for key in ("command", "git", "date")}


def _load_stats(file: Path) -> dict[int, Any]:
    return torch.load(file, map_location="cpu", weights_only=True)["reporter"]["stats"]


def _read(file: Path, load: Callable[[Path], Any]) -> Any:
    if not file.is_file():
        raise UserError(
            f"{file} does not exist: pre-train first, then export in the recipe's folder, with its dump"
        )
    try:
        return load(file)
    except DAMAGE as error:
        raise _damaged(file, error) from error


def _damaged(place: Path, error: Exception) -> UserError:
    return UserError(f"{place} is damaged, or not of this recipe ({error!r}): run its stage again")
