"""The stages of a recipe from stored features to a training, on the corpus of tiny_training.py."""

from pathlib import Path

import pytest
import torch

from espnet_wsm.bin import asr_train
from espnet_wsm.stages import cache_features, read_heads, transfer


class Recipe:
    """The stages' commands on one dump, for trainings that differ in ``encoder_conf``.

    ``sets`` are what features are stored of and what a transfer takes.
    """

    def __init__(self, dump: Path, training_arguments, capsys):
        self.dump, self.exp, self.capsys = dump, dump.parent / "exp", capsys
        self._arguments = training_arguments
        self.sets, self.said = "train dev", ""

    def training(self, **conf) -> list[str]:
        name = "_".join(f"{key}_{value}" for key, value in conf.items()).replace("/", "-")[:60]
        changed = [word for key, value in conf.items() for word in ("--encoder_conf", f"{key}={value}")]
        return [*self._arguments(self.dump.parent / f"conf{name}"), *changed]

    def store(self, **conf) -> Path:
        common = ["--dump_dir", str(self.dump), "--sets", self.sets, "--cache_dtype", "float32"]
        cache_features.main(["plan", *common, "--", *self.training(**conf)])
        folder = Path(self.capsys.readouterr().out.strip())
        for verb in ("run", "merge"):
            cache_features.main([verb, "--folder", str(folder), "--sets", self.sets])
        read_heads.main(["--folder", str(folder), "--set", "train", "--", *self.training(**conf)])
        return folder

    def call(self, verb: str, *options: str, **conf) -> str:
        common = ["--dump_dir", str(self.dump), "--exp_dir", str(self.exp), "--cache_dtype", "float32"]
        common += ["--sets", self.sets]
        self.capsys.readouterr()
        transfer.main([verb, *common, *options, "--", *self.training(**conf)])
        printed, self.said = self.capsys.readouterr()
        return printed.strip()

    def transfer(self, *options: str, **conf) -> Path:
        folder = self.call("plan", *options, **conf)
        for verb in ("store", "merge", "learn"):
            self.call(verb, *options, **conf)
        return Path(folder)

    def train(self, cache: Path, exp: str, *more: str, **conf) -> dict[str, torch.Tensor]:
        """A training of one epoch at a learning rate of zero: its model is what it began with."""
        sets, words = iter(("train", "dev")), []
        for word in self.training(**conf):
            if word.endswith(",speech,sound"):
                word = f"{cache / next(sets) / 'feats.scp'},speech,feature_cache"
            words.append(word)
        place = words.index("--output_dir") + 1
        words[place] = str(self.exp / exp)
        asr_train.main([*words, "--max_epoch", "1", "--optim_conf", "lr=0.0", *more])
        return torch.load(self.exp / exp / "1epoch.pth")


@pytest.fixture
def recipe(dump, training_arguments, capsys) -> Recipe:
    return Recipe(dump, training_arguments, capsys)
