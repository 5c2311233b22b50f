"""``espnet-wsm layers``: from audio to a file, a picture and a table."""

import copy
import shutil
from functools import partial

import numpy as np
import pytest
import soundfile
import torch
from checkpoints import write_whisper
from PIL import Image

from espnet_wsm.bin.layers import main
from espnet_wsm.transfer.heads import read_heads
from espnet_wsm.transfer.heads_report import draw_heads, format_record
from espnet_wsm.transfer.layer_survey import OpenUpstream, open_upstream, transfer_layers
from espnet_wsm.transfer.learning import list_students, measure_errors
from espnet_wsm.transfer.pairs import PairBatches, compute_pairs
from espnet_wsm.upstream import WsmConfig, find_checkpoint, prepare_suffix
from espnet_wsm.upstream.heads_record import HeadWindowsRecord, LayerHeads, read_record

SECONDS = {"a": 1.5, "b": 1.0, "c": 0.7}


@pytest.fixture(scope="module")
def audio(tmp_path_factory):
    """A data directory of three short wavs of noise, without any labels."""
    folder = tmp_path_factory.mktemp("audio")
    rng = np.random.default_rng(0)
    for name, seconds in SECONDS.items():
        soundfile.write(folder / f"{name}.wav", 0.1 * rng.standard_normal(round(16000 * seconds)), 16000)
    (folder / "data").mkdir()
    (folder / "data/wav.scp").write_text("".join(f"{name} {folder / name}.wav\n" for name in SECONDS))
    return folder


@pytest.fixture
def run(run_main):
    """``run(*words)``: see ``run_main``."""
    return partial(run_main, main)


@pytest.fixture(scope="module")
def even_upstream(upstream_path, tmp_path_factory):
    """An upstream whose heads look at all frames alike, because their keys are zero."""
    from transformers import AutoModel

    folder = tmp_path_factory.mktemp("even") / "even"
    shutil.copytree(upstream_path("hf_hubert", True), folder)
    model = AutoModel.from_pretrained(folder)
    for layer in model.encoder.layers:
        torch.nn.init.zeros_(layer.attention.k_proj.weight)
    model.save_pretrained(folder)
    return folder


def test_a_data_directory_gives_a_file_that_configurations_read(run, audio, upstream_path, tmp_path):
    upstream = upstream_path("hf_hubert", True)
    status, out, _ = run("--upstream", upstream, audio / "data")
    assert status == 0 and "nothing to read" not in out
    folder = tmp_path / "layers_hf_hubert_pre"
    assert out.endswith(f"\n{folder.name}/heads.json, {folder.name}/heads.png\n")
    record = read_record(folder / "heads.json")
    assert record.upstream == find_checkpoint(upstream).digest and record.share == 0.1
    assert [layer.layer for layer in record.layers] == [1, 2, 3] and len(record.ranking) == 3
    # 50 frames a second, but for those that the convolutions see at once
    assert record.frames == sum(round(50 * seconds) - 1 for seconds in SECONDS.values())
    assert Image.open(folder / "heads.png").width > 300
    assert format_record(record) in out
    conf = {"upstream": upstream, "mixer": "wsm_heads", "windows": f"{folder}/heads.json"}
    config = WsmConfig.from_dict(conf | {"layers": f"auto:2:{folder}/heads.json"})
    assert config.layers == sorted(record.ranking[:2])
    assert config.windows == [
        [list(window) for window in record.layers[number - 1].windows] for number in config.layers
    ]


def test_of_several_shares_the_one_that_leaves_least_is_taken(run, audio, upstream_path, tmp_path):
    upstream = upstream_path("hf_hubert", False)
    files = [audio / f"{name}.wav" for name in SECONDS]
    _, out, _ = run(*files, "--upstream", upstream, "--out", "out", "--share", 0.02, 0.2, 0.4)
    shares = {
        line.split()[1].rstrip(":"): float(line.split()[5])
        for line in out.splitlines()
        if line.startswith("share")
    }
    best = min(shares, key=shares.__getitem__)
    assert list(shares) == ["0.02", "0.2", "0.4"] and len(set(shares.values())) == 3
    (taken,) = [line for line in out.splitlines() if line.endswith(", taken")]
    assert taken.startswith(f"share {best}:")
    record = read_record(tmp_path / "out/heads.json")
    assert record.share == float(best) and record.mean_left == pytest.approx(shares[best], abs=1e-3)
    assert f", {best} left out on either side" in out


def test_blocks_that_learn_rank_the_layers(run, audio, upstream_path, tmp_path):
    upstream = upstream_path("hf_hubert", True)
    status, out, _ = run("--upstream", upstream, audio / "data", "--out", tmp_path / "out", "--transfer", 30)
    assert status == 0 and "| after |" in out
    record = read_record(tmp_path / "out/heads.json")
    left = {layer.layer: layer.left_after for layer in record.layers}
    assert list(record.ranking) == sorted(left, key=left.__getitem__) and len(set(left.values())) == 3


@pytest.fixture
def encoded(upstream_path):
    """An upstream of three layers, and what enters the lowest of them of five utterances of noise."""
    opened = open_upstream(upstream_path("hf_hubert", False))
    rng = np.random.default_rng(1)
    waveforms = [0.1 * rng.standard_normal(size).astype(np.float32) for size in range(8000, 18000, 2000)]
    return opened, list(opened.encode(waveforms))


def test_without_a_step_the_blocks_leave_what_they_leave_of_the_untouched_upstream(encoded):
    """The layers are replaced one after the other, but none of them hears what another block gives."""
    opened, batches = encoded
    record = read_heads(opened.suffix, batches, 0)
    suffix, (hidden, _) = copy.deepcopy(opened.suffix), batches[0]  # of five, the first is held out
    stored = {"0": compute_pairs(suffix, hidden, None, range(3))[0].numpy()}
    windows = [[list(window) for window in layer.windows] for layer in record.layers]
    prepare_suffix(suffix, range(3), opened.dim, WsmConfig("x", mixer="wsm_heads", windows=windows))
    expected = measure_errors(
        list_students(suffix, range(3), "attention"),
        PairBatches(stored, [["0"]], 3),
        "float32",
        torch.device("cpu"),
    )
    learnt = transfer_layers(opened, batches, record, steps=0)
    assert [layer.left_after for layer in learnt.layers] == pytest.approx(expected, rel=1e-5)


def test_blocks_learn_and_each_step_is_told(encoded):
    opened, batches = encoded
    record = read_heads(opened.suffix, batches, 0)
    left, steps = [], []
    for count in (0, 40):
        again = OpenUpstream(opened.checkpoint, opened.prefix, copy.deepcopy(opened.suffix), opened.dim)
        learnt = transfer_layers(again, [batches[0]] * 6, record, count, lambda: steps.append(None))
        left.append([layer.left_after for layer in learnt.layers])
    assert len(steps) == 3 * 40
    assert all(after < 0.7 * before for before, after in zip(*left, strict=True))


def test_even_attention_is_said_to_be_even_and_still_written(run, audio, even_upstream, tmp_path):
    status, out, _ = run("--upstream", even_upstream, audio / "data")
    assert status == 0
    assert "There is nothing to read: all heads look at all frames nearly alike" in out and " >99 |" in out
    assert read_record(tmp_path / "layers_even/heads.json").is_even


def test_whisper_is_read_too(run, audio, tmp_path):
    upstream = write_whisper(tmp_path / "whisper")
    status, _, _ = run("--upstream", upstream, audio / "data")
    assert status == 0 and len(read_record(tmp_path / "layers_whisper/heads.json").layers) == 3


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["{audio}/data", "--share", "0.5"], "--share 0.5 has to be at least 0 and below 0.5"),
        (["{audio}/data", "--share", "0.1", "-0.1"], "--share -0.1 has to be at least 0 and below 0.5"),
        (["{audio}/data", "--minutes", "0"], "--minutes 0 has to be above 0"),
        (["{audio}/data", "--minutes", "nan"], "--minutes nan has to be above 0"),
        (["{audio}/data", "--transfer", "-1"], "--transfer -1 has to be a number of steps, 0 for none"),
        (["{audio}"], "{audio} has no wav.scp, so it is no data directory: name one, or the"),
        (["{audio}/none.wav"], "{audio}/none.wav does not exist: correct the path"),
        (["{audio}/a.wav", "--transfer", "5"], "--transfer needs two utterances, one to learn from and one"),
    ],
)
def test_what_cannot_work_is_refused_with_the_remedy(run, audio, upstream_path, words, message):
    words = [word.format(audio=audio) for word in words]
    status, out, errors = run(*words, "--upstream", upstream_path("hf_hubert", True))
    assert status == 1 and out == ""
    assert message.format(audio=audio) in errors.splitlines()[-1]


def test_no_audio_at_all_is_a_wrong_command_line(run):
    status, _, errors = run("--upstream", "x")
    assert status == 2 and "required: DIR_or_FILE" in errors


def test_an_upstream_that_is_not_there_is_refused(run, audio):
    status, _, errors = run("--upstream", "none/at/all", audio / "data")
    assert status == 1 and "upstream none/at/all is neither a file nor a directory" in errors


@pytest.mark.parametrize("panels", [(2, 3), (12, 12)])
def test_pictures_are_drawn_for_few_heads_and_for_many(tmp_path, panels):
    layers, heads = panels
    mass = tuple(0.01 + 0.1 * (offset == 3) for offset in range(-20, 21))
    layer = LayerHeads(1, ((3, 3),) * heads, (0.5,) * heads, (mass,) * heads)
    record = HeadWindowsRecord(
        0.1, 20, 3000, tuple(LayerHeads(**vars(layer) | {"layer": n}) for n in range(1, layers + 1))
    )
    draw_heads(record, "Heads", tmp_path / "heads.png")
    assert Image.open(tmp_path / "heads.png").height > 200
    table = format_record(record).splitlines()
    assert len(table) == 2 + 3 * layers and " - " in table[2]  # an older file has no ranks
