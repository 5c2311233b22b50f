"""A tiny corpus and configuration for ESPnet's own entry points."""

from pathlib import Path

import numpy as np
import pytest
import soundfile
import yaml

TOKENS = ["<blank>", "<unk>", "<space>", "A", "B", "C", "<sos/eos>"]
AVERAGE = "valid.loss.ave.pth"
MODEL = {"ctc_weight": 1.0, "extract_feats_in_collect_stats": False}
TEXTS = {"u1": "AB", "u2": "A C", "u3": "CAB"}


def noise(seconds: float, rate: int = 16000) -> np.ndarray:
    """Noise whose loudness changes, so that frames differ."""
    samples = np.random.default_rng(5).standard_normal(int(seconds * rate))
    loudness = 0.5 + 0.45 * np.sin(np.arange(len(samples)) / rate * 9)
    return (0.1 * loudness * samples).astype(np.float32)


def encoder_conf(path: str) -> dict:
    return {"upstream": path, "window": 3, "width": 16}


def use_cache(arguments: list[str], cache: Path) -> list[str]:
    """The arguments of a training with its speech taken from the cache."""
    replaced, sets = [], iter(("train", "dev"))
    for argument in arguments:
        if argument.endswith(",speech,sound"):
            argument = f"{cache / next(sets) / 'feats.scp'},speech,feature_cache"
        replaced.append(argument)
    return replaced


def decode_arguments(corpus: Path, trained: Path, out: Path) -> list[str]:
    """The command line that decodes the corpus with the best model of a training."""
    return [
        "--output_dir", str(out), "--ngpu", "0",
        "--data_path_and_name_and_type", f"{corpus / 'wav.scp'},speech,sound",
        "--asr_train_config", str(trained / "config.yaml"),
        "--asr_model_file", str(trained / "valid.loss.best.pth"),
    ]  # fmt: skip


def make_lively(exp: Path) -> None:
    """After two epochs a model says the same in every frame; give it a CTC head that tells frames apart."""
    import torch

    from espnet_wsm.recognition.greedy import GreedyCtcDecoder

    decoder = GreedyCtcDecoder(exp / "config.yaml", exp / AVERAGE)
    with torch.no_grad():
        encoded, _ = decoder.model.encode(torch.from_numpy(noise(1))[None], torch.tensor([16000]))
    state = torch.load(exp / AVERAGE)
    weight, bias = state["ctc.ctc_lo.weight"], state["ctc.ctc_lo.bias"]
    weight.copy_(100 * torch.randn(weight.shape, generator=torch.Generator().manual_seed(2)))
    bias.copy_(-weight @ encoded[0].mean(dim=0))
    torch.save(state, exp / AVERAGE)


@pytest.fixture
def corpus(tmp_path) -> Path:
    """``wav.scp``, ``text`` and ``speech_shape`` of three utterances of noise, and ``tokens.txt``."""
    rng = np.random.default_rng(0)
    lines: dict[str, list[str]] = {"wav.scp": [], "text": [], "speech_shape": []}
    for position, (name, text) in enumerate(TEXTS.items()):
        size = 8000 + 1600 * position
        soundfile.write(tmp_path / f"{name}.flac", 0.1 * rng.standard_normal(size), 16000)
        lines["wav.scp"].append(f"{name} {tmp_path / name}.flac")
        lines["text"].append(f"{name} {text}")
        lines["speech_shape"].append(f"{name} {size}")
    for file, rows in lines.items():
        (tmp_path / file).write_text("\n".join(rows) + "\n")
    (tmp_path / "tokens.txt").write_text("\n".join(TOKENS) + "\n")
    return tmp_path


@pytest.fixture
def dump(corpus) -> Path:
    """``dump/raw/{train,dev}`` as stage 2 leaves them but for the transcripts, which nothing here reads."""
    samples = dict(line.split() for line in (corpus / "speech_shape").read_text().splitlines())
    for name in ("train", "dev"):
        folder = corpus / "dump" / "raw" / name
        folder.mkdir(parents=True)
        (folder / "wav.scp").write_text((corpus / "wav.scp").read_text())
        (folder / "utt2num_samples").write_text("".join(f"{id} {n}\n" for id, n in samples.items()))
    return corpus / "dump"


@pytest.fixture
def training_arguments(corpus, upstream_path):
    """``training_arguments(output_dir, **changes)`` gives the command line of a short training."""

    def get(output_dir: Path, **changes) -> list[str]:
        upstream = upstream_path("hf_hubert", True)
        conf = {
            "encoder": "wsm_s3prl",
            "encoder_conf": {"upstream": upstream, "window": 3, "width": 16},
            "frontend": None,
            "input_size": 1,
            "normalize": None,
            "specaug": None,
            "model_conf": dict(MODEL),
            "optim": "sgd",
            "optim_conf": {"lr": 0.01},
            "max_epoch": 2,
            "batch_type": "unsorted",
            "batch_size": 2,
            "num_workers": 0,
            "num_att_plot": 0,
            "use_matplotlib": False,
            "use_tensorboard": False,
            "best_model_criterion": [["valid", "loss", "min"]],
        }
        conf.update(changes)
        file = corpus / f"{output_dir.name}.yaml"
        file.write_text(yaml.safe_dump(conf))
        arguments = ["--config", str(file), "--output_dir", str(output_dir), "--token_type", "char"]
        arguments += ["--token_list", str(corpus / "tokens.txt"), "--ngpu", "0"]
        for part in ("train", "valid"):
            arguments += [f"--{part}_data_path_and_name_and_type", f"{corpus / 'wav.scp'},speech,sound"]
            arguments += [f"--{part}_data_path_and_name_and_type", f"{corpus / 'text'},text,text"]
            arguments += [f"--{part}_shape_file", str(corpus / "speech_shape")]
        return arguments

    return get


@pytest.fixture
def make_cache(dump, training_arguments, capsys):
    """``make_cache(dtype, *more)`` plans, fills and closes a cache; gives its folder."""
    from espnet_wsm.stages import cache_features

    def make(dtype: str = "float32", *more: str, nj: int = 2, changes: dict | None = None) -> Path:
        training = training_arguments(dump.parent / "cache_conf", **(changes or {}))
        common = ["--dump_dir", str(dump), "--sets", "train dev", "--cache_dtype", dtype]
        cache_features.main(["plan", *common, "--", *training, *more])
        folder = Path(capsys.readouterr().out.strip())
        of_cache = ["--folder", str(folder), "--sets", "train dev"]
        for job in range(1, nj + 1):
            cache_features.main(["run", *of_cache, "--nj", str(nj), "--job", str(job)])
        cache_features.main(["merge", *of_cache])
        return folder

    return make


@pytest.fixture
def build(training_arguments, tmp_path):
    """``build(model_conf, *options, **changes)`` gives a model in training mode."""
    import torch

    from espnet_wsm.plugin.numbers import parse_training
    from espnet_wsm.plugin.task import WsmASRTask

    def build(conf: dict, *options: str, **changes):
        torch.manual_seed(0)
        arguments = training_arguments(tmp_path / "exp", model_conf=MODEL | conf, **changes)
        return WsmASRTask.build_model(parse_training(WsmASRTask.get_parser(), [*arguments, *options])).train()

    return build


@pytest.fixture
def batch() -> dict:
    """Three utterances of noise with texts, as ESPnet hands them to a model."""
    import torch

    torch.manual_seed(1)
    speech, lengths = 0.1 * torch.randn(3, 16000), torch.tensor([16000, 9000, 12345])
    text = torch.tensor([[3, 4, 5], [3, -1, -1], [5, 3, -1]])
    return {
        "speech": speech,
        "speech_lengths": lengths,
        "text": text,
        "text_lengths": torch.tensor([3, 1, 2]),
    }


@pytest.fixture
def refuse(tmp_path):
    """``refuse(model_conf, reason, ...)``: it is refused before stage 2, and the message says why."""
    from espnet_wsm.errors import UserError
    from espnet_wsm.plugin.arguments import read_arguments

    def refuse(conf: dict, reason: str, **settings) -> None:
        file = tmp_path / "train.yaml"
        file.write_text(yaml.safe_dump({"encoder": "wsm_s3prl", "model_conf": conf} | settings))
        with pytest.raises(UserError) as refusal:
            read_arguments(["--config", str(file)])
        assert reason in str(refusal.value) and str(file) in str(refusal.value)

    return refuse


@pytest.fixture
def resume(training_arguments, tmp_path):
    """``resume(changes)``: the steps of an epoch; and the models after it was resumed, and in one go."""
    import torch

    from espnet_wsm.bin import asr_train

    def resume(changes: dict) -> tuple[int, dict, dict]:
        asr_train.main(training_arguments(tmp_path / "exp", **changes, max_epoch=1))
        steps = int(torch.load(tmp_path / "exp" / "1epoch.pth")["steps"])
        asr_train.main(training_arguments(tmp_path / "exp", **changes, max_epoch=2))
        asr_train.main(training_arguments(tmp_path / "whole", **changes, max_epoch=2))
        return steps, *(torch.load(tmp_path / exp / "2epoch.pth") for exp in ("exp", "whole"))

    return resume
