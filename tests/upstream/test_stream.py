"""The layers above the cut on pieces of an utterance, in every family: the outputs of the whole."""

import copy
import functools
import itertools
import math
import threading
from pathlib import Path

import pytest
import torch
from checkpoints import CHECKPOINTS, NUM_LAYERS, PRE_NORM
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from espnet_wsm.errors import UserError
from espnet_wsm.upstream import (
    FrozenPrefix,
    SuffixStream,
    TrainableSuffix,
    WsmConfig,
    load_upstream,
    prepare_suffix,
    run_suffix,
)
from espnet_wsm.upstream.cut import cut_of

KEYS = [key for key in CHECKPOINTS if key[0] != "hf_wav2vec2_bert"]
# One upstream of each class of layers.
CLASSES = ("wav2vec2", "distiller", "wavlm", "espnet_hubert", "hf_hubert", "hf_wavlm", "whisper")
EACH_LAYER = [next(key for key in reversed(KEYS) if key[0] == name) for name in CLASSES]
ONE = ("hf_hubert", PRE_NORM)
BESIDE = [[-3, 3], [6, 21], [-15, -4], [-40, 9]]  # windows of four heads
STREAMING = {
    "wsm": ({"mixer": "wsm", "causal": True}, 0),
    "local": ({"mixer": "local", "causal": True, "window": [1, 20]}, 0),
    "sm": ({"mixer": "sm", "causal": True, "hidden": [16], "combine_activation": "gelu"}, 0),
    "two projections": ({"mixer": "wsm", "causal": True, "shared_projection": False, "window": 0}, 0),
    "heads": ({"mixer": "wsm_heads", "windows": BESIDE, "max_look_ahead": 0}, 0),
    "heads that look ahead": ({"mixer": "wsm_heads", "windows": BESIDE, "max_look_ahead": 7}, 14),
    "plain heads": (
        {"mixer": "wsm_heads", "windows": BESIDE, "key_weights": False, "global_summary": False},
        42,
    ),
    "local on both sides": ({"mixer": "local", "window": 3, "num_replaced": 3}, 9),
    "dropped": ({"mixer": "drop"}, 0),
    "head alone": ({"num_replaced": 0}, 0),
}
FEW = settings(max_examples=15, deadline=None)


@pytest.fixture(scope="module")
def get_path(tmp_path_factory):
    """``get_path(key)`` writes a tiny checkpoint on the first call."""
    root: Path = tmp_path_factory.mktemp("streams")
    return functools.cache(lambda key: str(CHECKPOINTS[key](root / "-".join(key).replace(" ", "_"))))


def make(path: str, **conf) -> tuple[FrozenPrefix, TrainableSuffix]:
    """Prefix and suffix after surgery, every weight of new blocks away from zero, in eval mode."""
    config = WsmConfig(path, **{"width": 16} | conf)
    expert, checkpoint = load_upstream(path)
    prefix, suffix = cut_of(expert, checkpoint.family, config)
    torch.manual_seed(0)
    prepare_suffix(suffix, config.place_cut(NUM_LAYERS)[1], 32, config)
    for parameter in suffix.parameters():
        if not parameter.any():
            nn.init.normal_(parameter, std=0.1)
    return prefix, suffix.eval()


def draw(frames: int, batch: int = 1, seed: int = 0) -> Tensor:
    return torch.randn(batch, frames, 32, generator=torch.Generator().manual_seed(seed))


def push_pieces(stream: SuffixStream, hidden: Tensor, sizes: list[int], ahead: int) -> Tensor:
    """All outputs; what is known after each piece is all but the look-ahead."""
    assert sum(sizes) == hidden.size(1)
    outs, given = [], 0
    for number, piece in enumerate(hidden.split(sizes, dim=1), 1):
        last = number == len(sizes)
        outs.append(stream.push(piece, last))
        given += piece.size(1)
        assert sum(out.size(1) for out in outs) == (given if last else max(0, given - ahead))
    return torch.cat(outs, dim=1)


def measure(
    suffix: TrainableSuffix, stream: SuffixStream, hidden: Tensor, sizes: list[int], ahead: int
) -> float:
    """The largest difference to the whole utterance."""
    with torch.inference_mode():
        whole = suffix(hidden) if hidden.size(1) else hidden
    found = push_pieces(stream, hidden, sizes, ahead)
    assert found.shape == whole.shape and found.dtype == whole.dtype
    return float((found - whole).abs().max()) if hidden.size(1) else 0.0


splits = st.lists(st.integers(0, 40), min_size=1, max_size=8)


@pytest.mark.parametrize("name", STREAMING)
@FEW
@given(sizes=splits, batch=st.integers(1, 2))
def test_pieces_of_any_sizes_give_the_outputs_of_the_whole(get_path, made, name, sizes, batch):
    _, ahead = STREAMING[name]
    suffix = made(ONE, name)
    assert suffix.look_ahead == ahead
    assert measure(suffix, SuffixStream(suffix), draw(sum(sizes), batch), sizes, ahead) < 1e-5


@pytest.fixture(scope="module")
def made(get_path):
    """``made(key, name)`` is a suffix of ``STREAMING``, built once."""
    return functools.cache(lambda key, name: make(get_path(key), **STREAMING[name][0])[1])


def split_at_random(frames: int, seed: int) -> list[int]:
    """Sizes of pieces, none and one among them."""
    generator = torch.Generator().manual_seed(seed)
    ends = torch.randint(frames + 1, (6,), generator=generator).sort().values.tolist()
    return [end - begin for begin, end in itertools.pairwise([0, 1, *(max(1, end) for end in ends), frames])]


def check_of_waveform(prefix: FrozenPrefix, suffix: TrainableSuffix, ahead: int) -> None:
    hidden, _ = prefix([0.1 * torch.randn(10000, generator=torch.Generator().manual_seed(1))])
    frames, stream = hidden.size(1), SuffixStream(suffix)
    splits = [*(split_at_random(frames, seed) for seed in range(2)), [1] * frames]
    difference = max(measure(suffix, stream, hidden, sizes, ahead) for sizes in splits)
    assert difference < 1e-5


@pytest.mark.parametrize("key", KEYS, ids=" ".join)
def test_every_family_streams_what_it_computes_of_a_waveform(get_path, key):
    conf, ahead = STREAMING["wsm"]
    check_of_waveform(*make(get_path(key), **conf), ahead)


@pytest.mark.parametrize("key", EACH_LAYER, ids=" ".join)
def test_every_class_of_layers_waits_for_what_lies_ahead(get_path, key):
    conf, ahead = STREAMING["heads that look ahead"]
    check_of_waveform(*make(get_path(key), **conf), ahead)


def test_nothing_after_a_frame_changes_it_but_within_the_look_ahead(made):
    """By changing all that comes later: the reference does not look ahead by itself either."""
    for name, (_, ahead) in STREAMING.items():
        suffix, hidden = copy.deepcopy(made(ONE, name)).double(), draw(80).double()
        changed = hidden.clone()
        changed[:, 50:] = draw(30, seed=1).double()
        with torch.inference_mode():
            change = (suffix(hidden) - suffix(changed)).abs().amax(dim=-1)[0]
        assert change[: 50 - ahead].max() < 1e-12 and change[50 - ahead :].min() > 1e-9, name


def test_a_stream_goes_on_with_the_next_utterance_after_the_last_piece(made):
    suffix, stream = made(ONE, "heads that look ahead"), SuffixStream(made(ONE, "heads that look ahead"))
    for frames, sizes in ((30, [10, 20]), (5, [5]), (0, [0]), (21, [20, 1, 0])):
        assert measure(suffix, stream, draw(frames, seed=frames), sizes, 14) < 1e-5


def test_streams_run_beside_each_other_in_threads_and_leave_the_suffix_alone(made):
    suffix = made(ONE, "wsm")
    before = copy.deepcopy(suffix.state_dict()), repr(suffix)
    differences = {}

    def run(seed: int) -> None:
        sizes = [1 + (seed + i) % 5 for i in range(30)]
        differences[seed] = measure(suffix, SuffixStream(suffix), draw(sum(sizes), seed=seed), sizes, 0)

    threads = [threading.Thread(target=run, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(differences) == [0, 1, 2, 3] and max(differences.values()) < 1e-5
    assert repr(suffix) == before[1]
    assert all(torch.equal(value, before[0][name]) for name, value in suffix.state_dict().items())


def test_a_stream_has_the_weights_of_the_suffix_and_no_dropout(get_path):
    _, suffix = make(get_path(ONE), mixer="wsm", causal=True, dropout=0.5)
    stream = SuffixStream(suffix.train())
    with torch.no_grad():
        for parameter in suffix.parameters():
            parameter.add_(0.01)
    assert all(module.training for module in suffix.modules())
    found = stream.push(draw(30))
    assert torch.equal(found, suffix.eval()(draw(30)).detach())


def count_bytes(stream: SuffixStream) -> int:
    held = [tensor for layer in stream._layers for tensor in (layer._open, *layer._memory._near)]
    held += [layer._memory._total for layer in stream._layers]
    return sum(tensor.untyped_storage().nbytes() for tensor in held)


def test_what_is_kept_does_not_grow_with_the_stream(made):
    stream = SuffixStream(made(ONE, "heads that look ahead"))
    stream.push(draw(100))
    kept = count_bytes(stream)
    stream.push(draw(5000))
    assert count_bytes(stream) == kept < 2 * 4 * (40 + 7 + 2) * (32 + 4)


def test_half_precision_is_that_of_the_whole(made):
    suffix, hidden = made(ONE, "wsm"), draw(60)
    stream = SuffixStream(suffix, "bfloat16")
    found = push_pieces(stream, hidden, [13, 1, 46], 0)
    with torch.inference_mode():
        whole, exact = run_suffix(suffix, "bfloat16", hidden, None), suffix(hidden)
    assert found.dtype == torch.float32
    assert (found - whole).abs().max() < 0.05 and (found - exact).abs().max() > 1e-4


@pytest.mark.parametrize(
    ("conf", "message"),
    [
        (
            {"mixer": "wsm"},
            "layer 1 of the 2 above the cut .*averages over the whole utterance; .*causal: true",
        ),
        ({"mixer": "sm"}, "averages over the whole utterance"),
        ({"mixer": "wsm_heads", "windows": BESIDE}, "averages over .* or with max_look_ahead: a number of"),
        ({"mixer": "attention"}, "it has attention, which looks at the whole utterance"),
        ({"mixer": "lora"}, "it has attention"),
        ({"mixer": "gc_lora"}, "it has attention"),
        ({"mixer": "kv_pool"}, "it has attention"),
        (
            {"mixer": "wsm", "causal": True, "layers": [2]},
            "layer 2 of the 2 above the cut .*it has attention",
        ),
    ],
)
def test_what_cannot_stream_is_refused_before_it_starts(get_path, conf, message):
    _, suffix = make(get_path(ONE), **conf)
    assert suffix.look_ahead == math.inf
    with pytest.raises(UserError, match=message):
        SuffixStream(suffix)


def test_a_family_whose_layers_convolve_over_time_is_refused(get_path):
    _, suffix = make(get_path(("hf_wav2vec2_bert", "layer norm")), mixer="wsm", causal=True)
    assert suffix.look_ahead == 0  # its convolutions are causal, but keep no frames
    with pytest.raises(UserError, match="layers of hf_wav2vec2_bert have a convolution over time"):
        SuffixStream(suffix)
