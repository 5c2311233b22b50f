"""Where heads look, from their weights."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from espnet_wsm.errors import UserError
from espnet_wsm.transfer.heads import (
    REACH,
    _Looks,
    count_by_offset,
    read_heads,
    read_heads_by_share,
    read_window,
    sum_by_offset,
)
from espnet_wsm.transfer.learning import list_students, measure_errors
from espnet_wsm.transfer.pairs import PairBatches, compute_pairs
from espnet_wsm.transfer.watch import run_with_weights, watch_attention
from espnet_wsm.upstream import WsmConfig, load_upstream, prepare_suffix
from espnet_wsm.upstream.cut import cut_of
from espnet_wsm.upstream.heads_record import HeadWindowsRecord, LayerHeads, read_record, with_windows


@settings(deadline=None, max_examples=30, derandomize=True)
@given(frames=st.integers(1, 12), reach=st.integers(0, 15), seed=st.integers(0, 99))
def test_sums_and_counts_by_offset_are_those_of_a_loop(frames, reach, seed):
    weights = torch.rand(2, frames, frames, generator=torch.Generator().manual_seed(seed))
    expected, count = torch.zeros(2, 2 * reach + 1), torch.zeros(2 * reach + 1, dtype=torch.long)
    for t in range(frames):
        for offset in range(-reach, reach + 1):
            if 0 <= t + offset < frames:
                expected[:, offset + reach] += weights[:, t, t + offset]
                count[offset + reach] += 1
    torch.testing.assert_close(sum_by_offset(weights, reach), expected)
    assert torch.equal(count_by_offset(frames, reach), count)


def make_mass(reach: int, floor: float, **places: float) -> torch.Tensor:
    """Weight at offsets, named ``ahead3`` or ``behind2``, above a floor."""
    mass = torch.full((2 * reach + 1,), floor)
    for name, weight in places.items():
        sign = 1 if name.startswith("ahead") else -1
        mass[reach + sign * int(name.removeprefix("ahead").removeprefix("behind"))] += weight
    return mass


def test_a_window_is_where_the_weight_above_the_smallest_lies():
    assert read_window(make_mass(20, 0.01, ahead6=0.5, ahead9=0.5)) == (6, 9)
    assert read_window(make_mass(20, 0.01, behind4=0.3, ahead0=0.4, ahead2=0.3)) == (-4, 2)
    # A twentieth on either side is left out, where a tenth may be, and kept where none may.
    sides = make_mass(20, 0.0, behind15=0.05, ahead0=0.9, ahead15=0.05)
    assert read_window(sides) == (0, 0) and read_window(sides, share=0.0) == (-20, 15)
    assert read_window(sides, share=0.04) == (-15, 15)


def test_a_window_of_even_weight_lies_within_reach():
    first, last = read_window(torch.full((41,), 0.02))
    assert -20 <= first <= last <= 20


@pytest.fixture(scope="module")
def even_suffix(upstream_path):
    """Attention without keys, which looks at all frames alike, and states for it."""
    expert, checkpoint = load_upstream(upstream_path("hf_hubert", True))
    _, suffix = cut_of(expert, checkpoint.family, WsmConfig("x", num_replaced=1))
    torch.nn.init.zeros_(suffix.layers[0].attention.k_proj.weight)
    hidden = torch.randn(2, 60, 32, generator=torch.Generator().manual_seed(0))
    return suffix.eval(), [(hidden, (60, 40))]


def test_a_head_that_looks_everywhere_is_said_to(even_suffix):
    record = read_heads(*even_suffix, num_below=3)
    assert record.is_even and record.frames == 100
    assert record.describe().endswith("this attention has learnt no places to look at")


def test_even_heads_are_even_though_short_utterances_give_each_frame_more(even_suffix):
    suffix, _ = even_suffix
    batches = [make_states(frames) for frames in (200, 30, 12, 12, 12)]
    record = read_heads(suffix, batches, num_below=3)
    assert record.is_even and max(record.layers[0].peaks) < 1e-3


def test_what_is_even_in_a_head_does_not_move_its_window():
    """Half of its weight lies 5 frames ahead where there are such, the rest lies everywhere."""
    looks = _Looks()
    for frames in (300, 40, 20, 20):
        weights = torch.full((1, 1, frames, frames), 0.5 / frames)
        torch.diagonal(weights[0, 0], 5).add_(0.5)
        looks.add(weights, [frames])
    (mass,) = looks.mass
    assert read_window(mass, 0.01) == (5, 5)
    assert mass[REACH + 5] - mass.min() == pytest.approx(0.5, abs=1e-3)
    others = torch.cat([mass[: REACH + 5], mass[REACH + 6 :]])
    torch.testing.assert_close(others, torch.full_like(others, float(mass.min())))


def test_what_a_window_leaves_is_the_error_of_its_mean(even_suffix):
    """The mean over everything is what a head gives that looks everywhere."""
    suffix, batches = even_suffix
    whole = read_heads(suffix, batches, num_below=3, share=0.0)
    (layer,) = whole.layers
    assert layer.layer == 4 and len(layer.windows) == len(layer.left) == len(layer.mass) == 4
    near = read_heads(suffix, batches, num_below=3, share=0.45)
    assert max(layer.left) < min(near.layers[0].left)


@pytest.fixture
def suffix(upstream_path):
    """The two layers above the cut of an upstream whose attention is random, but not even."""
    expert, checkpoint = load_upstream(upstream_path("hf_hubert", False))
    return cut_of(expert, checkpoint.family, WsmConfig("x", num_replaced=2))[1].eval()


def make_states(*lengths: int) -> tuple[torch.Tensor, tuple[int, ...]]:
    return torch.randn(len(lengths), max(lengths), 32, generator=torch.Generator().manual_seed(1)), lengths


def test_what_a_layer_leaves_is_the_error_of_its_block_before_the_first_step(suffix):
    """Measured as a transfer measures it, with the block that training builds."""
    hidden, lengths = make_states(50, 30)
    record = read_heads(suffix, [(hidden, lengths)], num_below=1)
    mask = torch.arange(50) >= torch.tensor(lengths)[:, None]
    pairs = compute_pairs(suffix, hidden, mask, [0, 1])
    stored = {str(row): pairs[row, :frames].numpy() for row, frames in enumerate(lengths)}
    windows = [[list(window) for window in layer.windows] for layer in record.layers]
    prepare_suffix(suffix, (0, 1), 32, WsmConfig("x", mixer="wsm_heads", windows=windows))
    students = list_students(suffix, (0, 1), "attention")
    errors = measure_errors(students, PairBatches(stored, [["0", "1"]], 2), "float32", torch.device("cpu"))
    assert [layer.left_in_all for layer in record.layers] == pytest.approx(errors, rel=1e-4)
    assert all(0.01 < error < 10 for error in errors) and record.mean_left == pytest.approx(sum(errors) / 2)


def test_several_shares_give_what_each_gives_alone(suffix):
    batches = [make_states(40), make_states(25, 12)]
    seen: list[None] = []
    together = read_heads_by_share(suffix, batches, 1, [0.05, 0.3], lambda: seen.append(None))
    assert together == [read_heads(suffix, batches, 1, share) for share in (0.05, 0.3)]
    assert together[0].layers[0].windows != together[1].layers[0].windows and len(seen) == 4


def test_a_layer_is_done_with_its_weights_before_the_next_one_has_any(suffix):
    events: list[tuple[str, int]] = []
    hidden, _ = make_states(9)
    with watch_attention(suffix, (0, 1), lambda place, *_: events.append(("pair", place))) as watched:
        run_with_weights(suffix, hidden, None, lambda place, _: events.append(("weights", place)))
    assert events == [("weights", 0), ("pair", 0), ("weights", 1), ("pair", 1)]
    assert not any(each._recorder.seen for each in watched)


def test_attention_without_a_softmax_over_frames_is_refused(even_suffix, monkeypatch):
    suffix, [(hidden, _)] = even_suffix
    monkeypatch.setattr("espnet_wsm.transfer.watch.SOFTMAX", ())
    with pytest.raises(UserError, match=r"hf_hubert upstreams shows no weights \(of 1 layers, 0 took"):
        run_with_weights(suffix, hidden, None, lambda place, weights: None)


RECORD = HeadWindowsRecord(
    share=0.1,
    reach=1,
    frames=3000,
    upstream="abc",
    layers=tuple(LayerHeads(n, ((-n, 0), (0, n)), (0.5, 0.5), ((0.1, 0.6, 0.1),) * 2) for n in (5, 6)),
)


def test_windows_in_a_configuration_come_from_the_file(tmp_path):
    file = tmp_path / "heads.json"
    RECORD.write(file)
    assert read_record(file) == RECORD
    config = WsmConfig("x", mixer="wsm_heads")
    assert with_windows(config, file, "abc", [6]).windows == [[[-6, 0], [0, 6]]]
    assert with_windows(config, file, "abc", [5, 6]).windows == [[[-5, 0], [0, 5]], [[-6, 0], [0, 6]]]
    for other in (WsmConfig("x"), WsmConfig("x", mixer="wsm_heads", windows=7)):
        assert with_windows(other, tmp_path / "none", "abc", [6]) is other


@pytest.mark.parametrize(
    ("digest", "layers", "content", "message"),
    [
        ("other", [6], None, "was read off another upstream"),
        ("abc", [4], None, "has no windows of layer 4"),
        ("abc", [6], "{", "is damaged or of another version"),
        ("abc", [6], '{"layers": [1]}', "is damaged or of another version"),
        ("abc", [6], "", "is damaged"),
    ],
)
def test_a_file_that_does_not_fit_is_refused(tmp_path, digest, layers, content, message):
    file = tmp_path / "heads.json"
    RECORD.write(file)
    if content is not None:
        file.write_text(content)
    with pytest.raises(UserError, match=message):
        with_windows(WsmConfig("x", mixer="wsm_heads"), file, digest, layers)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(UserError, match=r"heads.json does not exist: stage 2 with --mixer wsm_heads"):
        read_record(tmp_path / "heads.json")
