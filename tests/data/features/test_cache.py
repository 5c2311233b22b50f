"""The prefix cache: computed once, resumed after any kill, refused when anything under it has changed."""

import json
import os
import pickle
import shutil
from collections import namedtuple
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.data import DataLoader

from espnet_wsm.data.features import reader as reading
from espnet_wsm.data.features import writer as writing
from espnet_wsm.data.features.key import CACHE_DTYPES, stamp_audio
from espnet_wsm.data.features.plan import CachePlan, plan_cache, read_batches
from espnet_wsm.data.features.reader import FeatureReader, check_cache
from espnet_wsm.data.features.shards import METADATA
from espnet_wsm.data.features.writer import ShardWriter, merge_cache
from espnet_wsm.data.kaldi.lists import write_list
from espnet_wsm.errors import UserError
from espnet_wsm.frames import count_encoder_frames

DIM = 8
KEY = {"upstream": "abc", "layer": "10"}
SAMPLES = {"a": 16000, "b/../é\"\\'": 8000, "c": 100, "d:7": 5000, "e{}": 12345}
OUT = Path("dump/cache/train")


def features_of(id: str, num_samples: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(len(id) + num_samples)
    return torch.randn(max(1, count_encoder_frames(num_samples)), DIM, generator=generator)


@pytest.fixture
def data(tmp_path, monkeypatch) -> Path:
    """The lists of five utterances, whose "audio" is their id; the working directory is the recipe's."""
    monkeypatch.chdir(tmp_path)
    Path("audio").mkdir()
    for number, id in enumerate(SAMPLES):
        Path(f"audio/{number}.flac").write_text(id)
    write_list(Path("data/wav.scp"), {id: f"audio/{n}.flac" for n, id in enumerate(SAMPLES)})
    write_list(Path("data/utt2num_samples"), SAMPLES)
    return Path("data")


def plan(key=KEY, dtype="float32", dim=DIM, **more) -> CachePlan:
    return plan_cache(Path("data"), OUT, key, dtype, dim, **more)


def compute(nj: int = 1, jobs: list[int] | None = None, shard_bytes: int = 1) -> list[str]:
    """Run the jobs; one shard an utterance unless told otherwise. Returns the ids that were computed."""
    computed = []
    for job in jobs or range(1, nj + 1):
        with ShardWriter(OUT, job, shard_bytes) as writer:
            for each in (each for batch in read_batches(OUT, nj, job) for each in batch):
                writer.add(each.id, features_of(each.id, each.num_samples), stamp_audio(each.audio))
                computed.append(each.id)
    return computed


def make(**more) -> None:
    plan(**more)
    compute()
    merge_cache(OUT)


def check(key=KEY, dtype="float32") -> None:
    check_cache(OUT, key, dtype, Path("data/wav.scp"))


def shard_of(id: str) -> Path:
    return Path(next(line.split(" ", 1)[1] for line in lines("feats.scp") if line.startswith(f"{id} ")))


def lines(name: str) -> list[str]:
    return (OUT / name).read_text().splitlines()


@pytest.mark.parametrize(("dtype", "tolerance"), [("float16", 2**-11), ("bfloat16", 2**-8), ("float32", 0.0)])
@pytest.mark.parametrize("nj", [1, 3, 7])
def test_features_come_back_as_they_were(data, dtype, tolerance, nj):
    """Within half a unit of the stored type's last place."""
    plan(dtype=dtype)
    compute(nj)
    assert str(merge_cache(OUT)).startswith("train: cached 5 utterances, 127 frames: 0.0 MB in 5 shards")
    check(dtype=dtype)
    reader = FeatureReader(OUT / "feats.scp")
    assert list(reader) == sorted(SAMPLES, key=str.encode) and len(reader) == 5
    assert "a" in reader and "z" not in reader
    frames = dict(line.split(" ") for line in lines("utt2num_frames"))
    for id, num_samples in SAMPLES.items():
        wanted = features_of(id, num_samples).numpy()
        assert reader[id].dtype == np.float32 and reader[id].shape == wanted.shape
        assert np.all(np.abs(reader[id] - wanted) <= tolerance * np.abs(wanted) + 1e-7)
        assert int(frames[id]) == len(wanted)
    assert sorted(path.suffix for path in OUT.iterdir()) == ["", "", ".json", *[".safetensors"] * 5, ".scp"]
    with pytest.raises(KeyError):
        reader["z"]


def test_arrays_belong_to_the_caller(data):
    make()
    reader = FeatureReader(OUT / "feats.scp")
    reader["a"][:] = 0
    assert reader["a"].any()


def test_the_plan_says_what_it_will_take(data, monkeypatch):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(0, 0, 67_800_000_000))
    shown = plan(dtype="float16", dim=192)
    frames = 49 + 24 + 1 + 15 + 38
    assert (shown.utterances, shown.pending, shown.discarded) == (5, 5, None)
    assert shown.bytes_total == shown.bytes_pending == frames * 192 * 2
    assert str(shown) == (
        "train: 5 utterances, 0.00 h; cache of layer features 0.0 MB (float16, 192 channels), "
        "5 to compute; 67.8 GB free"
    )


@settings(deadline=None)
@given(
    st.dictionaries(st.text("abc", min_size=1), st.integers(1, 400_000), min_size=1),
    st.one_of(st.just(1e-6), st.floats(0.1, 60)),
    st.integers(1, 5),
)
def test_every_utterance_is_in_one_batch_within_the_limit(tmp_path_factory, samples, batch_seconds, nj):
    root = tmp_path_factory.mktemp("plan")
    write_list(root / "wav.scp", dict.fromkeys(samples, "audio"))
    write_list(root / "utt2num_samples", samples)
    plan_cache(root, root / "out", KEY, "float16", DIM, batch_seconds)
    jobs = [read_batches(root / "out", nj, job) for job in range(1, nj + 1)]
    batches = [batch for job in jobs for batch in job]
    assert sorted(each.id for batch in batches for each in batch) == sorted(samples)
    assert all(samples[each.id] == each.num_samples for batch in batches for each in batch)
    for batch in batches:
        longest = max(each.num_samples for each in batch)
        assert len(batch) == 1 or longest * len(batch) <= batch_seconds * 16000
    # The same batches for any number of jobs, dealt out in turn.
    one_job = read_batches(root / "out", 1, 1)
    assert [one_job[job::nj] for job in range(nj)] == jobs
    assert one_job == sorted(one_job, key=lambda batch: -batch[0].num_samples)


def test_what_a_killed_run_has_stored_is_kept(data):
    plan(batch_seconds=1.0)
    whole = read_batches(OUT, 1, 1)
    assert [len(batch) for batch in whole] == [1, 1, 2, 1]
    compute(4, jobs=[1, 3], shard_bytes=10**9)
    kept, cut = sorted(OUT.glob("*.safetensors"))
    cut.write_bytes(cut.read_bytes()[:-1])
    (OUT / ".features.1.2.1.safetensors.99.tmp").write_bytes(b"half")
    again = plan(batch_seconds=1.0)
    assert again.pending == 4 and again.bytes_pending < again.bytes_total
    assert again.discarded == (
        "dump/cache/train: 1 shard cut short or damaged, computed anew: features.1.3.1.safetensors"
    )
    assert read_batches(OUT, 1, 1) == whole[1:]
    assert sorted(path.name for path in OUT.iterdir()) == [kept.name, "plan.json"]
    assert len(compute(2)) == 4
    merge_cache(OUT)
    check()
    assert (done := plan(batch_seconds=1.0)).pending == 0 and done.discarded is None
    merge_cache(OUT)
    check()


def test_a_batch_is_computed_again_as_a_whole_and_its_latest_features_count(data):
    plan(batch_seconds=1000)
    with ShardWriter(OUT, 1) as writer:
        writer.add("a", torch.zeros(3, DIM), stamp_audio("audio/0.flac"))
    assert plan(batch_seconds=1000).pending == 5
    compute()
    merge_cache(OUT)
    assert FeatureReader(OUT / "feats.scp")["a"].shape == (49, DIM)


def test_a_batch_is_resumed_with_the_same_company(data):
    """Features of changed audio may lie in a shard that others still need: they do not count."""
    plan(batch_seconds=1.0)
    compute(shard_bytes=10**9)
    merge_cache(OUT)
    Path("audio/1.flac").write_text("another")  # shares a batch with d:7
    assert plan(batch_seconds=1.0).pending == 2
    with pytest.raises(UserError, match=r"2 utterances of 5 without features: b/../é.*, d:7: a job failed"):
        merge_cache(OUT)
    assert sorted(compute()) == sorted(SAMPLES)[1:4:2]
    merge_cache(OUT)
    check()
    assert shard_of("a") != shard_of("d:7") and len(list(OUT.glob("*.safetensors"))) == 3


def test_a_job_that_is_run_twice_overwrites_nothing(data):
    plan()
    compute(2)
    compute(2, jobs=[1])
    assert len(list(OUT.glob("*.safetensors"))) > 5
    assert merge_cache(OUT).shards == len(list(OUT.glob("*.safetensors"))) == 5


def test_other_settings_discard_the_cache_and_are_named(data):
    make()
    changed = plan(key={"upstream": "xyz", "layer": "10"}, dtype="bfloat16")
    assert changed.discarded == (
        "dump/cache/train: the features there do not fit and are computed anew: "
        "--cache_dtype was float32, is bfloat16; upstream was abc, is xyz"
    )
    assert changed.pending == 5
    assert not list(OUT.glob("*.safetensors")) and not (OUT / "cache.json").exists()
    compute()
    merge_cache(OUT)
    check({"upstream": "xyz", "layer": "10"}, "bfloat16")
    assert "channels was 8, is 4" in plan(key={"upstream": "xyz", "layer": "10"}, dim=4).discarded


def test_a_shard_of_a_job_with_older_settings_is_not_taken(data):
    plan(key={"upstream": "old"})
    writer = ShardWriter(OUT, 1, 1)
    plan()
    writer.add("a", torch.zeros(3, DIM), stamp_audio("audio/0.flac"))
    compute()
    merge_cache(OUT)
    assert FeatureReader(OUT / "feats.scp")["a"].any() and len(list(OUT.glob("*.safetensors"))) == 5


def test_other_files_in_the_folder_are_left_alone(data):
    OUT.mkdir(parents=True)
    safetensors.torch.save_file({"weight": torch.zeros(1)}, OUT / "model.safetensors")
    make()
    assert (OUT / "model.safetensors").exists()


def test_audio_that_was_only_touched_or_moved_stays_valid(data):
    make()
    os.utime("audio/0.flac", (1, 1))
    check()
    shutil.move("audio/1.flac", "moved.flac")
    write_list(
        data / "wav.scp",
        {id: "moved.flac" if n == 1 else f"audio/{n}.flac" for n, id in enumerate(SAMPLES)},
    )
    check()
    assert plan().pending == 0
    merge_cache(OUT)
    mtime = Path("audio/0.flac").stat().st_mtime_ns
    assert lines("utt2audio")[0].split(" ")[2] == str(mtime), "the next check need not read the file again"


def test_changed_or_lost_audio_is_refused(data):
    make()
    Path("audio/0.flac").write_text("A")  # same size
    Path("audio/2.flac").unlink()
    with pytest.raises(UserError) as caught:
        check()
    assert str(caught.value) == (
        "audio of 2 utterances changed or gone since its features went into dump/cache/train: "
        "a (audio/0.flac), c (audio/2.flac): "
        "run stage 2 again, or train without the cache (--cache false)"
    )


def test_a_cache_for_something_else_is_refused_with_both_values(data):
    make()
    with pytest.raises(UserError) as caught:
        check({"upstream": "abc", "layer": "8", "code": "2"}, "float16")
    assert str(caught.value) == (
        "the cache dump/cache/train was made for something else: --cache_dtype was float32, is float16; "
        "code was not recorded, is 2; layer was 10, is 8: "
        "run stage 2 again, or train without the cache (--cache false)"
    )


def test_other_utterances_are_refused(data):
    make()
    write_list(data / "wav.scp", {"a": "audio/0.flac", "new": "audio/1.flac"})
    with pytest.raises(UserError) as caught:
        check()
    assert "1 id of data/wav.scp not in the cache dump/cache/train: new: run stage 2" in str(caught.value)
    assert "4 ids in the cache dump/cache/train but not in data/wav.scp: b/../é" in str(caught.value)


def test_a_missing_or_unfinished_cache_is_refused(data):
    with pytest.raises(UserError, match=r"the cache dump/cache/train does not exist: run stage 2 again, or"):
        check()
    with pytest.raises(UserError, match=r"plan.json does not exist: the cache has to be planned first"):
        read_batches(OUT, 1, 1)
    plan()
    with pytest.raises(UserError, match="the cache dump/cache/train is unfinished: run stage 2 again, or"):
        check()


def test_lost_and_cut_shards_are_refused(data):
    make()
    shard_of("a").unlink()
    cut = shard_of("c")
    cut.write_bytes(cut.read_bytes()[:-3])
    with pytest.raises(UserError) as caught:
        check()
    assert f"{cut} has {cut.stat().st_size} bytes where {cut.stat().st_size + 3} were" in str(caught.value)
    assert "safetensors, named in dump/cache/train/feats.scp, cannot be read: No such file" in str(
        caught.value
    )
    reader = FeatureReader(OUT / "feats.scp")
    for id in ("a", "c"):
        with pytest.raises(UserError, match=rf"feats.scp: the features of id {id} cannot be read from"):
            reader[id]


def test_features_that_a_disk_has_changed_are_refused(data):
    make()
    path = shard_of("c")
    stored = FeatureReader(OUT / "feats.scp")["c"]
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    check()  # which looks at sizes alone
    reader = FeatureReader(OUT / "feats.scp")
    for _ in range(2):
        with pytest.raises(
            UserError, match=r"features of id c in .* not those that were written: delete that file"
        ):
            reader["c"]
    path.unlink()
    make()
    assert np.array_equal(FeatureReader(OUT / "feats.scp")["c"], stored)


@pytest.mark.parametrize("lacks", [{}, {"crc32": {}}])
def test_shards_without_checksums_are_those_of_another_version(data, lacks):
    make()
    path = shard_of("c")
    with safetensors.safe_open(path, "pt") as shard:
        metadata = json.loads(shard.metadata()[METADATA])
    del metadata["crc32"]
    content = safetensors.torch.load_file(path)
    safetensors.torch.save_file(content, path, {METADATA: json.dumps(metadata | lacks)})
    with pytest.raises(UserError, match="features of id c cannot be read"):
        FeatureReader(OUT / "feats.scp")["c"]
    assert f"1 shard cut short or damaged, computed anew: {path.name}" in plan().discarded


def test_a_shard_of_other_channels_does_not_count(data):
    plan(batch_seconds=1e-6)
    compute()
    path = next(OUT.glob("features.*"))
    content = safetensors.torch.load_file(path)
    with safetensors.safe_open(path, "pt") as shard:
        metadata = shard.metadata()
    wrong = {id: tensor[:, 1:].contiguous() for id, tensor in content.items()}
    safetensors.torch.save_file(wrong, path, metadata)
    with pytest.raises(UserError, match=r"1 utterance of 5 without features"):
        merge_cache(OUT)
    assert plan(batch_seconds=1e-6).pending == 1


def test_a_full_disk_is_noticed_before_and_while_writing(data, monkeypatch):
    make()
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(0, 0, 1_500_000))
    with pytest.raises(UserError) as caught:
        plan(key={"upstream": "new"}, dim=4000)
    assert str(caught.value) == (
        "dump/cache/train: the cache needs 2.1 MB and 1.5 MB are free: choose another --dump_dir, store 16 "
        "bits a value (--cache_dtype float16), or train without the cache (--cache false)"
    )
    check()  # nothing was deleted
    plan(key={"upstream": "new"})

    def full(self, data):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(UserError, match=r"features\.2\.1\.1\.safetensors cannot be written: No space left"):
        compute()


@pytest.mark.parametrize(
    ("dtype", "value", "message"),
    [
        ("float32", float("nan"), "id a: 1 feature value not finite"),
        ("bfloat16", float("inf"), "id a: 1 feature value not finite"),
        ("float16", -70000.0, "id a: feature values up to 70000 where float16 ends at 65504: use "
         "--cache_dtype bfloat16"),
        ("bfloat16", 3.4e38, r"to 3.4e\+38 where bfloat16 ends at 3.38953e\+38: use --cache_dtype float32"),
    ],
)  # fmt: skip
def test_values_that_cannot_be_stored_are_refused_and_the_rest_is_kept(data, dtype, value, message):
    plan(dtype=dtype, batch_seconds=1e-6)
    features = torch.zeros(4, DIM)
    features[2, 3] = value
    with pytest.raises(UserError, match=message), ShardWriter(OUT, 1) as writer:
        writer.add("c", torch.zeros(1, DIM), stamp_audio("audio/2.flac"))
        writer.add("a", features, stamp_audio("audio/0.flac"))
    assert plan(dtype=dtype, batch_seconds=1e-6).pending == 4


def test_features_of_a_wrong_shape_are_a_mistake_of_the_caller(data):
    plan()
    for shape in ((DIM,), (0, DIM), (3, DIM + 1)):
        with pytest.raises(ValueError, match=r"not \(T, 8\)"):
            ShardWriter(OUT, 1).add("a", torch.zeros(shape), stamp_audio("audio/0.flac"))


def test_views_and_other_dtypes_are_stored_right(data):
    plan(dtype="float16", batch_seconds=1e-6)
    batch = torch.randn(DIM, 5, 4, dtype=torch.float64, requires_grad=True)
    with ShardWriter(OUT, 1) as writer, torch.inference_mode():
        for number, id in enumerate(SAMPLES):
            writer.add(id, batch[:, number, :3].T, stamp_audio(f"audio/{number}.flac"))
    merge_cache(OUT)
    reader = FeatureReader(OUT / "feats.scp")
    for number, id in enumerate(SAMPLES):
        assert np.array_equal(reader[id], batch[:, number, :3].T.detach().half().float().numpy())


def test_shards_are_as_large_as_told(data):
    plan()
    compute(shard_bytes=60 * DIM * 4)  # of 49 + 38 + 24 + 15 + 1 (and 1) frames, longest first
    assert merge_cache(OUT).shards == 2
    assert plan().pending == 0


def test_many_short_utterances_are_spread_over_shards(data, monkeypatch):
    monkeypatch.setattr(writing, "UTTERANCES_PER_SHARD", 2)
    plan()
    compute(shard_bytes=10**9)
    assert merge_cache(OUT).shards == 3


class Frames(torch.utils.data.Dataset):
    def __init__(self, reader: FeatureReader) -> None:
        self.reader, self.ids = reader, list(reader)

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, index: int) -> tuple[str, np.ndarray]:
        return self.ids[index], self.reader[self.ids[index]]


@pytest.mark.parametrize("context", ["fork", "spawn"])
def test_data_loader_workers_read_the_same(data, context):
    make()
    reader = FeatureReader(str(OUT / "feats.scp"))
    here = {id: reader[id] for id in reader}  # the parent's shards are open when the workers start
    loader = DataLoader(Frames(reader), None, num_workers=2, multiprocessing_context=context)
    for id, features in loader:
        assert np.array_equal(np.asarray(features), here.pop(id))
    assert not here


def test_a_pickled_reader_carries_no_open_files(data):
    make()
    reader = FeatureReader(OUT / "feats.scp")
    assert reader["a"].any() and reader._shards
    copy = pickle.loads(pickle.dumps(reader))
    assert not copy._shards and np.array_equal(copy["a"], reader["a"])


def test_each_shard_is_opened_once(data, monkeypatch):
    plan()
    compute(shard_bytes=10**9)
    merge_cache(OUT)
    opened = []
    monkeypatch.setattr(
        reading, "safe_open", lambda path, **more: opened.append(path) or safetensors.safe_open(path, **more)
    )
    reader = FeatureReader(OUT / "feats.scp")
    assert not opened
    for id in [*reader, *reader]:
        reader[id]
    assert len(opened) == 1


def test_broken_lists_and_options(data):
    with pytest.raises(UserError, match="--cache_dtype int8: choose one of float16, bfloat16, float32"):
        plan(dtype="int8")
    with pytest.raises(UserError, match="--batch_seconds 0: must be positive"):
        plan(batch_seconds=0)
    write_list(data / "utt2num_samples", {"a": 1})
    with pytest.raises(UserError, match=r"utt2num_samples: its ids differ from those of data/wav.scp: b/"):
        plan()
    write_list(data / "wav.scp", {"__metadata__": "x"})
    write_list(data / "utt2num_samples", {"__metadata__": 1})
    with pytest.raises(UserError, match="the id __metadata__ is reserved in safetensors files: rename it"):
        plan()
    with pytest.raises(UserError, match="--job 3 of --nj 2: the job must lie between 1 and"):
        read_batches(OUT, 2, 3)


def test_unreadable_audio_cannot_be_stamped(data):
    with pytest.raises(UserError, match=r"audio/none.flac cannot be read: No such file or directory: run"):
        stamp_audio("audio/none.flac")


def test_the_closing_record_tells_what_the_cache_is(data):
    make(dtype="float16")
    record = json.loads((OUT / "cache.json").read_text())
    assert (record["key"], record["dtype"], record["dim"], record["utterances"]) == (KEY, "float16", DIM, 5)
    assert record["shards"] == {path.name: path.stat().st_size for path in OUT.glob("*.safetensors")}
    assert CACHE_DTYPES[0] == "float16"
