"""``espnet-wsm convert``: an upstream whose attention has been replaced without labels."""

import json
import math
import shutil
import subprocess
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from checkpoints import CHECKPOINTS, POST_NORM, PRE_NORM, write_whisper
from torch import nn

from espnet_wsm.arms import STUDENTS
from espnet_wsm.bin.convert import MIXERS, main
from espnet_wsm.data.kaldi.excerpts import Excerpt, choose_excerpts
from espnet_wsm.errors import UserError
from espnet_wsm.transfer import conversion, learning, together
from espnet_wsm.transfer.audio_pool import make_pool
from espnet_wsm.transfer.conversion import ConversionSettings, convert
from espnet_wsm.upstream import WsmConfig, cut_upstream, find_checkpoint, load_upstream, prepare_suffix
from espnet_wsm.upstream.conversion_record import (
    BLOCKS_FILE,
    CONVERTED_FILE,
    CONVERTING_FILE,
    read_conversion,
)
from espnet_wsm.upstream.inspection import inspect_upstream, measure_deviation
from espnet_wsm.upstream.stored_cut import describe_key, load_suffix, name_cut, store_cut

CPU = torch.device("cpu")
TOOL = Path(__file__).parents[2] / "tools/time_encoder.py"
KINDS = [
    ("whisper", "pre-norm, on log-mel"),
    ("wav2vec2", POST_NORM),
    ("hubert", PRE_NORM),
    ("wavlm", PRE_NORM),
    ("hf_wavlm", POST_NORM),
    ("hf_wav2vec2", PRE_NORM),
    ("espnet_hubert", POST_NORM),
]


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """A data directory of four wavs of noise, without any labels."""
    folder = tmp_path_factory.mktemp("unlabelled")
    rng = np.random.default_rng(0)
    seconds = {"a": 1.5, "b": 1.0, "c": 0.7, "d": 1.2}
    for name, duration in seconds.items():
        soundfile.write(folder / f"{name}.wav", 0.1 * rng.standard_normal(round(16000 * duration)), 16000)
    (folder / "wav.scp").write_text("".join(f"{name} {folder / name}.wav\n" for name in seconds))
    return folder


@pytest.fixture(scope="module")
def whisper(tmp_path_factory):
    return write_whisper(tmp_path_factory.mktemp("whisper") / "whisper")


def make_settings(upstream, layers=None, **more) -> ConversionSettings:
    config = WsmConfig(str(upstream), mixer="wsm_heads", windows=more.pop("window", 3))
    return ConversionSettings(layers, config, **dict(steps=2, own_steps=2, longest=0.8, frames=80) | more)


@pytest.fixture(scope="module")
def excerpts(data):
    return choose_excerpts([data], math.inf)


@pytest.fixture(scope="module")
def converted(whisper, excerpts, tmp_path_factory):
    """All layers of a tiny Whisper."""
    folder = tmp_path_factory.mktemp("converted") / "linear"
    assert convert(make_settings(whisper), excerpts, folder, CPU).layers == (1, 2, 3)
    return folder


@pytest.fixture
def run(run_main):
    """``run(*words)``: see ``run_main``."""
    return partial(run_main, main)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: f"{kind[0]} {kind[1]}")
@pytest.mark.parametrize("layers", [None, 1])
def test_the_result_is_an_upstream_like_any_other(kind, layers, excerpts, tmp_path):
    parent = CHECKPOINTS[kind](tmp_path / "parent")
    result = convert(make_settings(parent, layers), excerpts, tmp_path / "new", CPU)
    config = WsmConfig(str(tmp_path / "new"), mixer="kept", num_replaced=1, trainable="mixer")

    # Everything but the attention is the parent's, to the last bit.
    expert, checkpoint = load_upstream(config.upstream)
    own = {name: value.clone() for name, value in expert.state_dict().items()}
    old = load_upstream(str(parent))[0].state_dict()
    family = checkpoint.family
    depth = len(family.encoder(expert).layers)
    assert result.layers == tuple(range(depth - (layers or depth) + 1, depth + 1))
    shared = own.keys() & old.keys()
    assert all(torch.equal(own[name], old[name]) for name in shared)
    assert all(".mixer." in name for name in own.keys() - old.keys())
    assert not any(".mixer." in name for name in old) and own.keys() - old.keys()

    # Alone as in a batch; and the layers above the cut are built again without the upstream.
    assert measure_deviation(*load_upstream(config.upstream), exact_padding=True) < 2e-5
    assert measure_deviation(*load_upstream(config.upstream), exact_padding=True) > 0
    cut = store_cut(tmp_path / "cut", config)
    prefix, suffix = cut_upstream(expert, family, depth - 1)
    hidden, mask = prefix([torch.from_numpy(excerpts[0].read()), torch.from_numpy(excerpts[1].read())])
    again = load_suffix(tmp_path / "cut", cut)
    with torch.no_grad():
        expected = suffix(hidden, mask)
        assert torch.equal(again(hidden, mask), expected)
        prepare_suffix(again, [0], cut.dim, config)  # trains what is there
        torch.testing.assert_close(again(hidden, mask), expected, rtol=1e-6, atol=1e-6)
    trains = {name for name, parameter in again.named_parameters() if parameter.requires_grad}
    assert trains and all(".mixer." in name for name in trains)
    kinds = [row.kind for row in inspect_upstream(config).table.rows]
    assert kinds.count("frozen, converted") == (layers or depth) - 1 and "kept" in kinds


def test_it_is_told_apart_from_its_parent_and_from_other_conversions(whisper, converted):
    parent, own = WsmConfig(str(whisper)), WsmConfig(str(converted))
    assert describe_key(parent)["upstream digest"] != describe_key(own)["upstream digest"]
    assert name_cut(parent, "float16") != name_cut(own, "float16")
    record = json.loads((converted / CONVERTED_FILE).read_text())
    assert record["digest"] == find_checkpoint(str(whisper)).digest


@pytest.mark.parametrize("init", ["attention", "random"])
def test_where_attention_is_a_mean_nothing_changes(whisper, excerpts, tmp_path, init):
    folder = tmp_path / "even"
    shutil.copytree(whisper, folder)
    from safetensors.torch import load_file, save_file

    states = load_file(folder / "model.safetensors")
    for name in states:
        if ".q_proj." in name or ".k_proj." in name:
            states[name] = torch.zeros_like(states[name])
    save_file(states, folder / "model.safetensors", {"format": "pt"})
    settings = make_settings(folder, window=1000, lr=1e-9, own_lr=1e-9)  # Adam makes steps of rounding errors
    settings = replace(settings, config=replace(settings.config, init=init))
    # Of one utterance, such an attention gives the same at every frame; of two held-out ones it does not.
    parts = [
        replace(each, start=start / 10, end=start / 10 + 0.3)
        for each in excerpts
        for start in range(0, int(10 * each.seconds) - 3, 3)
    ]
    result = convert(settings, parts, tmp_path / "new", CPU)
    errors = (*result.forced.held_out[0], *result.together.held_out[0], *result.by_duration[-1].errors)
    assert (max(errors) < 1e-8) == (init == "attention")


def test_a_killed_conversion_goes_on_to_the_same_blocks(whisper, excerpts, converted, tmp_path, monkeypatch):
    monkeypatch.setattr(learning, "KEEPS", 1)
    monkeypatch.setattr(together, "KEEPS", 1)
    phases: list[str] = []

    def stop_at(number: int):
        def start(name, steps):
            def step(done, error):
                phases.append(f"{name} {done}")
                if len(phases) == number:
                    raise KeyboardInterrupt

            return step

        return start

    new = tmp_path / "new"
    for number in (1, 3):
        with pytest.raises(KeyboardInterrupt):
            convert(make_settings(whisper), excerpts, new, CPU, stop_at(number))
        with pytest.raises(UserError, match="new is unfinished: run the same"):
            find_checkpoint(str(new))
    convert(make_settings(whisper), excerpts, new, CPU, stop_at(0))
    own = "on their own inputs"
    assert phases == [
        "each attention 1", "each attention 2", f"{own} 1", "each attention 2", f"{own} 2"
    ]  # fmt: skip
    assert (new / BLOCKS_FILE).read_bytes() == (converted / BLOCKS_FILE).read_bytes()
    assert sorted(file.name for file in new.iterdir()) == sorted([BLOCKS_FILE, CONVERTED_FILE])
    assert convert(make_settings(whisper), excerpts, new, CPU) is None


def test_blocks_learn_and_what_diverges_is_put_back(whisper, excerpts, tmp_path):
    calm = convert(make_settings(whisper, steps=30, own_steps=30, own_lr=1e-3), excerpts, tmp_path / "a", CPU)
    assert sum(calm.forced.held_out[-1]) < 0.9 * sum(calm.forced.held_out[0])
    first = calm.together.held_out[0]
    assert calm.by_duration[-1].durations == "all" and not calm.together.halved
    assert sum(calm.by_duration[-1].errors) < sum(first)
    wild = convert(make_settings(whisper, steps=30, own_steps=20, own_lr=0.9), excerpts, tmp_path / "b", CPU)
    assert wild.together.halved
    assert wild.together.best <= sum(wild.together.held_out[0]) / len(first)


@pytest.mark.parametrize("kind", [KINDS[1], KINDS[5], KINDS[6]], ids=lambda kind: f"{kind[0]} {kind[1]}")
def test_positions_below_the_layers_can_go(kind, excerpts, tmp_path):
    parent = CHECKPOINTS[kind](tmp_path / "parent")
    folder = tmp_path / "without"
    settings = make_settings(parent, positions=False)
    convert(settings, excerpts, folder, CPU)
    assert convert(settings, excerpts, folder, CPU) is None, "it has been made already"

    # Below the layers it is the parent, whose convolution gives nothing.
    expert, checkpoint = load_upstream(str(parent))
    wavs = [torch.from_numpy(each.read()) for each in excerpts[:2]]
    for name, parameter in checkpoint.family.positions(expert).named_parameters():
        if name.endswith(("bias", "weight_g", "original0")):
            parameter.data.zero_()
    expected, _ = cut_upstream(expert, checkpoint.family, 0)[0](wavs)
    new, checkpoint = load_upstream(str(folder))
    assert not list(checkpoint.family.positions(new).parameters())
    found, _ = cut_upstream(new, checkpoint.family, 0)[0](wavs)
    assert torch.equal(found, expected)

    found = read_conversion(folder).about["by_duration"][-1]["errors"]
    assert found == pytest.approx(measure_slowly(parent, folder, excerpts), rel=1e-3)
    kept = replace(read_conversion(folder), positions=True).describe()
    assert kept != read_conversion(folder).describe() and "positions" not in kept
    assert measure_deviation(*load_upstream(str(folder)), exact_padding=True) < 2e-5


def test_the_errors_are_those_of_a_slow_reference(whisper, converted, excerpts):
    found = read_conversion(converted).about["by_duration"][-1]["errors"]
    assert found == pytest.approx(measure_slowly(whisper, converted, excerpts), rel=1e-3)


def measure_slowly(parent, converted, excerpts) -> list[float]:
    """The errors at each layer and at the output."""
    pool = make_pool(excerpts, 0.8, 80, 0)
    pieces = [piece for batch in pool.held_out for piece in batch]
    states = []
    for upstream in (parent, converted):
        expert, checkpoint = load_upstream(str(upstream))
        prefix, suffix = cut_upstream(expert, checkpoint.family, 0)
        of_pieces = []
        for piece in pieces:
            hidden, _ = prefix([torch.from_numpy(piece.read())])
            rows = []
            with torch.no_grad():
                for layer in suffix.layers:
                    hidden = checkpoint.family.run_layers([layer], hidden, None)
                    rows.append(hidden[0])
                rows.append((suffix.final_norm or nn.Identity())(hidden)[0])
            of_pieces.append(rows)
        states.append([torch.cat(rows).double() for rows in zip(*of_pieces, strict=True)])
    return [
        float((ours - wanted).square().sum() / (wanted - wanted.mean(dim=0)).square().sum())
        for wanted, ours in zip(*states, strict=True)
    ]


def test_pieces_are_each_stretch_alone_and_joined_ones_up_to_a_length():
    excerpts = [Excerpt(f"{n}", Path(f"{n % 3}.wav"), 2.0 * n, 2.0 * n + 1.5, None) for n in range(40)]
    pool = make_pool(excerpts, 10.0, 1000, seed=1)
    held_out = {each for batch in pool.held_out for piece in batch for each in piece.excerpts}
    train = [piece for batch in pool.train for piece in batch]
    assert held_out == {excerpts[place] for place in (0, 10, 20, 30)} and pool.seconds == 60
    alone = [piece for piece in train if len(piece.excerpts) == 1]
    joined = [piece for piece in train if len(piece.excerpts) > 1]
    assert {piece.excerpts[0] for piece in alone} == set(excerpts) - held_out
    assert sorted(each.where for piece in joined for each in piece.excerpts).count("1") == 1
    assert max(piece.seconds for piece in joined) <= 10 and len({len(p.excerpts) for p in joined}) > 1
    assert not held_out & {each for piece in train for each in piece.excerpts}
    assert all(len(batch) * max(piece.frames for piece in batch) <= 1000 for batch in pool.train)
    with pytest.raises(UserError, match="needs two utterances"):
        make_pool(excerpts[:1], 10.0, 1000, 0)


def test_the_command_says_what_is_left_by_duration(whisper, data, run):
    words = ["--upstream", whisper, "--out", "new", "--window", 3, "--join_to", 1, "--steps", 2]
    folder = Path("folder")
    (folder / "deep").mkdir(parents=True)
    for wav in data.glob("*.wav"):
        shutil.copy(wav, folder / "deep")
    status, out, err = run(*words, "--own_steps", 2, "--layers", 2, folder)
    assert status == 0, err
    assert "warning: 4 s of audio: blocks that learn from less than 5 minutes" in err
    assert "new, from 0.1 minutes of audio" in out
    assert "| utterances | of audio | layer 2 | layer 3 | output |" in " ".join(out.split(" ")).replace(
        "  ", " "
    )
    assert "| below 10 s" in out and "| all" in out
    assert "--mixer kept --num_replaced 2" in out
    status, out, err = run(*words, "--own_steps", 2, "--layers", 2, folder)
    assert (status, out) == (0, "new has been made already, with these settings of this audio\n")
    status, out, err = run(*words, "--own_steps", 3, "--layers", 2, folder)
    assert status == 1 and "new is the result of another conversion: delete it, or give another --out" in err


def test_what_cannot_be_converted(whisper, converted, data, run):
    words = ["--window", 3, "--join_to", 1, "--steps", 1, "--own_steps", 1, data]
    for change, message in {
        ("--upstream", converted): "is a converted upstream already: convert the one it was made of",
        ("--upstream", whisper, "--layers", 4): "4 layers are to be converted, and the upstream has 3",
        ("--upstream", whisper, "--positions", "drop"): "no convolution for positions that could be dropped",
        ("--upstream", whisper, "--layers", "top"): "--layers top has to be a number of layers",
        ("--upstream", whisper, "--join_to", 31): "joined to 31 s, and the upstream takes no more than",
        ("--upstream", whisper, "--own_lr", 1): "--own_lr 1 has to be between 0 and 1",
        ("--upstream", whisper, "--window", -1): "--window -1 has to be 0 or more",
        ("--upstream", whisper, "--steps", 0): "--steps 0 has to be 1 or more",
        ("--upstream", whisper, "--mixer", "sm", "--max_look_ahead", 1): "max_look_ahead",
    }.items():
        status, _, err = run("--out", "new", *words, *change)
        assert status == 1 and message in err and "error: " in err, (change, err)
        assert not Path("new").exists()
    status, _, err = run("--out", data, "--upstream", whisper, *words)
    assert status == 1 and f"{data} holds other files: delete it, or give another --out" in err


def test_what_does_not_fit_a_converted_upstream_is_refused(whisper, converted, tmp_path):
    def refuse(message: str, upstream, **conf) -> None:
        with pytest.raises(UserError, match=message):
            inspect_upstream(WsmConfig(str(upstream), **conf))

    refuse("no attention any more: mixer: kept trains what they have", converted, mixer="wsm")
    refuse("no attention any more", converted, mixer="attention")
    refuse("kept does not fit .* has its attention still: take no more than", whisper, mixer="kept")
    assert inspect_upstream(WsmConfig(str(converted), mixer="drop")).num_layers == 3

    place = tmp_path / "here"
    place.mkdir()
    parent, own = shutil.copytree(whisper, place / "parent"), place / "own"
    shutil.copytree(converted, own)
    record = json.loads((own / CONVERTED_FILE).read_text()) | {"parent": "../parent"}
    (own / CONVERTED_FILE).write_text(json.dumps(record))
    shutil.move(place, tmp_path / "there")  # both moved together
    parent, own = tmp_path / "there/parent", tmp_path / "there/own"
    inspect_upstream(WsmConfig(str(own), mixer="kept"))
    blocks = (own / BLOCKS_FILE).read_bytes()
    (own / BLOCKS_FILE).write_bytes(blocks[:-8])
    refuse(f"{BLOCKS_FILE} does not fit {CONVERTED_FILE}", own, mixer="kept")
    (own / BLOCKS_FILE).unlink()
    refuse(f"{BLOCKS_FILE} is missing", own, mixer="kept")
    (own / BLOCKS_FILE).write_bytes(blocks)
    (own / CONVERTED_FILE).write_text(json.dumps(record | {"version": 0}))
    refuse("converted.json is damaged .its version is 0", own, mixer="kept")
    (own / CONVERTED_FILE).write_text(json.dumps(record))
    config = json.loads((parent / "config.json").read_text())
    (parent / "config.json").write_text(json.dumps(config | {"note": "changed"}))
    refuse("was made of an upstream with the digest", own, mixer="kept")
    shutil.rmtree(parent)
    refuse("was made of another upstream, which it needs", own, mixer="kept")


def test_the_command_offers_every_mixer_that_can_learn():
    assert set(MIXERS) == set(STUDENTS)


def test_another_conversion_under_way_is_not_touched(whisper, excerpts, tmp_path):
    tmp_path.joinpath(CONVERTING_FILE).write_text("{}")
    with pytest.raises(UserError, match="another conversion is under way"):
        conversion.convert(make_settings(whisper), excerpts, tmp_path, CPU)


def test_whole_encoders_are_timed_against_the_length(whisper, converted, tmp_path):
    picture = tmp_path / "encoder.png"
    words = [TOOL, "--upstreams", whisper, converted, "--seconds", "0.4", "0.2", "--rounds", "1"]
    done = subprocess.run(
        [sys.executable, *map(str, words), "--figure", picture], capture_output=True, text=True, check=True
    )
    lines = done.stdout.splitlines()
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:6]]
    assert [row[:2] for row in rows] == [
        [length, folder.name] for length in ("0.2 s", "0.4 s") for folder in (Path(whisper), converted)
    ]
    assert [row[4] for row in rows][::2] == ["1.00", "1.00"] and picture.stat().st_size > 1000
    assert lines[-1].startswith("linear: its time grows with the length to the power of ")
    words[2] = tmp_path / "none"
    done = subprocess.run([sys.executable, *map(str, words)], capture_output=True, text=True, check=False)
    assert done.returncode == 1 and "none and 0.2 s of audio: see above" in done.stderr
