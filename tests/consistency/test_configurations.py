"""Every YAML file of the project is one that its program accepts."""

from dataclasses import fields
from pathlib import Path

import pytest
import yaml

from espnet_wsm.benchmark.config import read_config as read_benchmark
from espnet_wsm.bin import asr_inference_greedy, asr_inference_lm, asr_train, hubert_train
from espnet_wsm.data.text.rules import TextRules, read_text_rules
from espnet_wsm.experiments.corpora import find_corpus
from espnet_wsm.experiments.grid import read_grid
from espnet_wsm.pretraining import licences
from espnet_wsm.stages.sbatch_options import list_options, read_cluster
from espnet_wsm.upstream.fetching.wheels import TABLE, read_sources

ROOT = Path(__file__).parents[2]


def find(pattern: str) -> list[Path]:
    folders = [ROOT / "conf", *(ROOT / "egs").glob("*/*/conf")]
    return sorted(file for folder in folders for file in folder.glob(pattern))


def name(file: Path) -> str:
    return str(file.relative_to(ROOT))


@pytest.mark.parametrize("file", [file for file in find("train*.yaml") if "ssl1" not in file.parts], ids=name)
def test_every_training_configuration_builds_its_model(file, upstream_path, tmp_path):
    upstream = upstream_path("hf_hubert", True)
    (tmp_path / "tokens.txt").write_text("<blank>\n<unk>\n<space>\nA\n<sos/eos>\n")
    asr_train.main(
        [
            "--config", str(file), "--dry_run", "true", "--token_type", "char",
            "--token_list", str(tmp_path / "tokens.txt"), "--output_dir", str(tmp_path / "exp"),
            "--encoder_conf", f"upstream={upstream}",
        ]
    )  # fmt: skip
    built = yaml.safe_load((tmp_path / "exp" / "config.yaml").read_text())
    asked = yaml.safe_load(file.read_text())
    assert asked["encoder_conf"].items() <= built["encoder_conf"].items()
    assert built["max_epoch"] == asked["max_epoch"] and (tmp_path / "exp" / "parameters.json").exists()


@pytest.mark.parametrize("file", [file for file in find("train*.yaml") if "ssl1" in file.parts], ids=name)
def test_every_pre_training_configuration_builds_its_model(file, tmp_path):
    (tmp_path / "tokens.txt").write_text("0\n1\n2\n")
    words = ["--config", str(file), "--dry_run", "true", "--num_classes", "3"]
    words += ["--token_list", str(tmp_path / "tokens.txt"), "--output_dir", str(tmp_path / "exp")]
    hubert_train.main(words)
    built = yaml.safe_load((tmp_path / "exp" / "config.yaml").read_text())
    asked = yaml.safe_load(file.read_text())
    assert asked["encoder_conf"].items() <= built["encoder_conf"].items()


@pytest.mark.parametrize("file", find("experiments/*.yaml"), ids=name)
def test_every_grid_names_recipes_an_upstream_and_a_configuration_that_are_there(file):
    grid = read_grid(file)
    assert grid.runs
    for run in (*grid.sweep, *grid.runs):
        recipe = find_corpus(ROOT, run.corpus).recipe
        place = (recipe / grid.upstream).resolve()
        before, made, _ = f"{place}/".partition("/exp/")
        # What is fetched or converted, or left by pre-training in its exp/, is not part of the project.
        if place.parent == ROOT / "upstreams":
            converted = f" convert --upstream upstreams/whisper_base --out upstreams/{place.name} "
            assert place.name in read_sources() or converted in file.read_text(encoding="utf-8")
        else:
            assert Path(before, "run.sh" if made else "upstream.json").is_file()
        assert (recipe / grid.train_config).is_file()


@pytest.mark.parametrize("file", find("decode*.yaml"), ids=name)
def test_every_decoding_configuration_is_accepted_by_its_decoder(file):
    from espnet2.bin import asr_inference

    decoders = {"greedy": asr_inference_greedy, "beam": asr_inference, "lm": asr_inference_lm}
    parser = decoders[file.stem.removeprefix("decode_")].get_parser()
    required = ["--output_dir", "x", "--data_path_and_name_and_type", "a,speech,sound"]
    required += ["--asr_train_config", "c", "--asr_model_file", "m"]
    required += ["--lm_file", "l"] if file.stem == "decode_lm" else []
    args = vars(parser.parse_args(["--config", str(file), *required]))
    asked = yaml.safe_load(file.read_text())
    assert asked.items() <= args.items()


def test_every_benchmark_configuration_is_accepted_by_the_benchmark():
    files = find("benchmark/*.yaml")
    assert files
    for file in files:
        read_benchmark(file)


@pytest.mark.parametrize("file", find("cluster/*.yaml"), ids=name)
@pytest.mark.parametrize("with_gpu", [False, True])
def test_every_cluster_configuration_is_accepted_by_the_launcher(file, with_gpu):
    asked = yaml.safe_load(file.read_text())
    settings = read_cluster(file, with_gpu)
    assert asked.keys() == settings.keys()
    assert list_options(settings, int(with_gpu), "8G", "1:00:00", 4)[-1] == (
        "--gres=gpu:1" if with_gpu else "--cpus-per-task=4"
    )


@pytest.mark.parametrize("file", find("text.yaml"), ids=name)
def test_every_text_configuration_is_accepted(file):
    read_text_rules(file)
    assert set(yaml.safe_load(file.read_text())) <= {each.name for each in fields(TextRules)}


def test_the_table_of_sources_is_whole():
    sources = read_sources()
    assert {"whisper_base", "whisper_tiny_en"} <= sources.keys()
    for source in sources.values():
        assert source.hub.count("/") == 1 and len(source.sha256) == 64
        assert source.licence and source.licence in source.licence_text
        for wheel in source.wheels:
            assert "==" in wheel.requirement and wheel.member.partition(".")[2] and wheel.bytes > 0


def test_no_yaml_file_is_left_unchecked():
    # Those of upstreams are in test_upstream_configurations.py, licences in tests/pretraining/test_card.py.
    kinds = ("train*", "decode*", "benchmark/*", "experiments/*", "upstream/*", "cluster/*", "text")
    checked = {file for kind in kinds for file in find(f"{kind}.yaml")} | {TABLE, licences.TABLE}
    everything = {f for f in ROOT.rglob("*.yaml") if not {".venv", "exp", "dump"} & set(f.parts)}
    assert checked and everything == checked
