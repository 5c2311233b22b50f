"""Dump folders of noise bursts, and an experiment of pre-training as its stages leave it."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
import yaml
from checkpoints import ESPNET_WEIGHTS, write_espnet_hubert

from espnet_wsm.data.dump.lists import write_dump_lists
from espnet_wsm.data.kaldi.directory import Utterance

MEASURES = ("loss", "count_m", "acc_m")


@pytest.fixture
def write_dump(tmp_path) -> Callable[..., Path]:
    """``write_dump("train", {"anna-1": 8000})``: a dump folder of noise; speakers stand before the dash."""

    def write(name: str, samples: Mapping[str, int], seed: int = 0) -> Path:
        directory = tmp_path / "dump/raw" / name
        (directory / "audio").mkdir(parents=True)
        rng = np.random.default_rng(seed)
        utterances = []
        for uid, length in samples.items():
            audio = directory / "audio" / f"{uid}.flac"
            # Bursts of two colours, louder and softer: something to tell apart.
            noise = (
                rng.standard_normal(length).cumsum() if len(utterances) % 2 else rng.standard_normal(length)
            )
            loudness = 0.02 + 0.3 * (np.arange(length) // 3200 % 2)
            soundfile.write(audio, 0.5 * loudness * noise / np.abs(noise).max(), 16000)
            utterances.append(Utterance(uid, str(audio), "-", uid.split("-")[0]))
        write_dump_lists(directory, utterances, dict(samples))
        return directory

    return write


@pytest.fixture
def training(tmp_path) -> Callable[..., Path]:
    """``training("iter1")``: the folder of an experiment, with its records and the targets that it names."""

    def write(name: str, pre_norm: bool = False, clusters: int = 10, **changes) -> Path:
        exp = write_espnet_hubert(tmp_path / "exp" / name, pre_norm)
        (exp / ESPNET_WEIGHTS).rename(exp / "valid.acc_m.ave.pth")
        targets, raw = tmp_path / "dump" / f"targets_{name}", tmp_path / "dump/raw"
        settings = yaml.safe_load((exp / "config.yaml").read_text())
        settings |= {
            "train_data_path_and_name_and_type": [
                [str(raw / "train/wav.scp"), "speech", "sound"],
                [str(targets / "train/labels"), "text", "text_int"],
            ],
            "best_model_criterion": [["valid", "acc_m", "max"]],
            "keep_nbest_models": 2,
            "optim_conf": {"lr": 0.5},
            "seed": 17,
        }
        (exp / "config.yaml").write_text(yaml.safe_dump(settings | changes))
        (exp / "run.json").write_text(
            json.dumps({"command": "run.sh --x | y", "git": "c0ffee", "date": "2020-01-01"})
        )
        (exp / "devices.txt").write_text("CPU of clay, 2 threads\n")
        stats = {
            epoch: {
                part: {
                    "loss": 300.0 / epoch,
                    "count_m": 100.0,
                    "acc_m": accuracy + shift,
                    "total_count": 7 * epoch,
                }
                | {"time": {"__timedelta_seconds__": 10.5}}
                for part, shift in (("train", 0.1), ("valid", 0.0))
            }
            for epoch, accuracy in ((1, 0.2), (2, 0.4), (3, 0.3))
        }
        torch.save({"reporter": {"stats": stats, "epoch": 3}}, exp / "checkpoint.pth")
        summary = {
            part: {"num_clusters": clusters, "frames": frames}
            for part, frames in (("train", 180_000), ("valid", 9000))
        }
        targets.mkdir(parents=True)
        (targets / "targets.json").write_text(
            json.dumps({"features": f"what {name} heard", "seed": 0} | summary)
        )
        (raw / "org/train").mkdir(parents=True, exist_ok=True)
        (raw / "org/train/speed_perturb").write_text("0.9 1.0 1.1\n")
        return exp

    return write


@pytest.fixture
def write_sources(tmp_path) -> Callable[..., Path]:
    """``write_sources(name=licence)``: a sources.json."""

    def write(**licences: str) -> Path:
        packages = {"BSD-like": "festvox-ru"}
        entries = {
            name: {
                "language": name[-2:],
                "licence": licence,
                "holder": f"Holder of {name}",
                "package": packages.get(licence, f"package-{name}"),
                "minutes": 30.0,
            }
            for name, licence in licences.items()
        }
        file = tmp_path / "sources.json"
        file.write_text(json.dumps(entries))
        return file

    return write
