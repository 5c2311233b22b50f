"""Every family of upstreams through all that is done with one. All models are tiny.

The axes are family, variant (place of the norm, norm in the convolutions, adapters), mixer, k and what
trains. Their product is not run, but:

- in every variant of every family (``KEYS``) all that a family or a norm can break: the library's hidden
  states, every mixer at one k and every k with one mixer, what trains, padding, precision, the table, the
  stored cut, the state;
- in one variant of each model class (``EACH_CLASS``, pre-norm where there is one) what does not depend on the
  norms: training mode, random attention and layers, pooled keys, LoRA's arithmetic with and without
  convolution, ESPnet's initialisation;
- in one upstream of each class of layers (``EACH_LAYER``) compilation;
- pairs that interact: k = L takes WavLM's table of relative positions above the cut, so every mixer that
  attends is run there too, as is ``drop``, which then leaves no layer; LoRA is run in attention that calls
  its projections and in attention that only reads their weights.

An upstream is loaded once for each way it is cut; what a test changes is a copy.
"""

import argparse
import copy
import functools
import io
import itertools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import torch
from checkpoints import CHECKPOINTS, DROPOUT, NUM_LAYERS, POST_NORM, PRE_NORM, load_reference
from hypothesis import example, given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from espnet_wsm.errors import UserError
from espnet_wsm.plugin import register
from espnet_wsm.plugin.encoder import WsmS3prlEncoder
from espnet_wsm.plugin.task import WsmASRTask
from espnet_wsm.transfer.heads import read_heads
from espnet_wsm.transfer.pairs import compute_pairs, split_pairs
from espnet_wsm.transfer.watch import run_with_weights, watch_attention
from espnet_wsm.upstream import (
    FrozenPrefix,
    LayerTable,
    TrainableSuffix,
    WsmConfig,
    load_upstream,
    prepare_suffix,
)
from espnet_wsm.upstream.config import DROP, KEPT, MIXER_NAMES, TRAINABLE
from espnet_wsm.upstream.cut import cut_of
from espnet_wsm.upstream.families.contract import FamilyContract
from espnet_wsm.upstream.families.registry import FAMILIES
from espnet_wsm.upstream.families.wavlm import PositionBias
from espnet_wsm.upstream.layer_table import describe_prefix, describe_suffix
from espnet_wsm.upstream.stored_cut import check_cut, load_prefix, load_suffix, read_cut, store_cut

KEYS = list(CHECKPOINTS)
WITH_PRE_NORM = {family for family, variant in KEYS if variant == PRE_NORM}
EACH_CLASS = [key for key in KEYS if key[1] == PRE_NORM or key[0] not in WITH_PRE_NORM]
# The other families have the layers of one of these, or transformers' copies of HuBERT's.
LAYERS = (
    "wav2vec2",
    "distiller",
    "wavlm",
    "espnet_hubert",
    "hf_hubert",
    "hf_wavlm",
    "hf_wav2vec2_bert",
    "whisper",
)
EACH_LAYER = [key for key in EACH_CLASS if key[0] in LAYERS]
# Attention that reads the weights of its projections, and attention that calls them.
TWO_LORAS = [("wav2vec2", PRE_NORM), ("hf_hubert", PRE_NORM)]
WITH_BIAS = [key for key in KEYS if key[0] in ("wavlm", "hf_wavlm")]
# Attention that adds to a score what depends on the distance of two frames: it has no pooled keys.
WITH_POSITIONS = [*WITH_BIAS, ("hf_wav2vec2_bert", "layer norm")]
# What reaches over time below the layers and would take padding along.
OVER_TIME = [key for key in KEYS if "group norm" in key[1] or "data2vec" in " ".join(key)]
LENGTHS = (9600, 5000, 7003)
SLOW = settings(max_examples=12, deadline=None, derandomize=True)


@dataclass(frozen=True)
class Upstream:
    """A tiny checkpoint and the key of ``CHECKPOINTS`` that made it."""

    key: tuple[str, str]
    path: str
    family: FamilyContract
    cuts: dict[str, tuple[FrozenPrefix, TrainableSuffix]] = field(default_factory=dict)

    @property
    def is_library_exact(self) -> bool:
        """Whether our input is the library's: extractors of transformers normalise with sums in float32."""
        return not self.key[0].startswith("hf_") or "group norm" in self.key[1]

    @property
    def is_pre_norm(self) -> bool:
        """Whether a norm follows the last layer."""
        return "pre-norm" in self.key[1]

    def cut(self, **conf) -> tuple[FrozenPrefix, TrainableSuffix]:
        """Prefix and suffix before surgery; made once, so only a copy may be changed."""
        name = str(sorted(conf.items()))
        if name not in self.cuts:
            expert, checkpoint = load_upstream(self.path)
            prefix, suffix = cut_of(expert, checkpoint.family, WsmConfig(self.path, **conf))
            self.cuts[name] = prefix, suffix.eval()
        return self.cuts[name]

    def operate(self, suffix: TrainableSuffix, **conf) -> TrainableSuffix:
        """A copy of a suffix after surgery, new blocks drawn with one seed, in eval mode."""
        config = WsmConfig(self.path, **{"window": 3, "windows": None} | conf)
        suffix = copy.deepcopy(suffix)
        torch.manual_seed(0)
        prepare_suffix(suffix, config.place_cut(NUM_LAYERS)[1], dim=32, config=config)
        return suffix.eval()

    def run_library(self) -> Callable[[list[Tensor]], list[Tensor]]:
        """The upstream as its own library runs it: waveforms to all its hidden states."""
        return load_reference(*self.key, Path(self.path))

    def build(self, **conf) -> WsmS3prlEncoder:
        """The whole encoder; its random draws are the caller's."""
        return WsmS3prlEncoder(1, upstream=self.path, **{"window": 3, "windows": None} | conf)


@pytest.fixture(scope="module")
def get_upstream(tmp_path_factory) -> Callable[[tuple[str, str]], Upstream]:
    """``get_upstream(key)`` writes the checkpoint on the first call."""
    root = tmp_path_factory.mktemp("families")
    families = {family.name: family for family in FAMILIES}

    @functools.cache
    def get(key: tuple[str, str]) -> Upstream:
        return Upstream(key, str(CHECKPOINTS[key](root / "-".join(key).replace(" ", "_"))), families[key[0]])

    return get


@pytest.fixture(scope="module", params=KEYS, ids=" ".join)
def upstream(request, get_upstream) -> Upstream:
    """Each checkpoint in turn."""
    return get_upstream(request.param)


@pytest.fixture(scope="module", params=EACH_CLASS, ids=" ".join)
def of_each_class(request, get_upstream) -> Upstream:
    """One checkpoint of each model class in turn."""
    return get_upstream(request.param)


@pytest.fixture(scope="module", params=WITH_BIAS, ids=" ".join)
def biased(request, get_upstream) -> Upstream:
    """Each checkpoint whose attention adds a bias by relative position."""
    return get_upstream(request.param)


def draw(*lengths: int, seed: int = 7) -> list[Tensor]:
    """Waveforms of so many samples."""
    generator = torch.Generator().manual_seed(seed)
    return [0.1 * torch.randn(length, generator=generator) for length in lengths]


@pytest.fixture
def wavs() -> list[Tensor]:
    """Three waveforms of 0.6, 0.3 and 0.4 s."""
    return draw(*LENGTHS)


def pad(wavs: list[Tensor]) -> tuple[Tensor, Tensor]:
    """As ESPnet hands them to the encoder."""
    return nn.utils.rnn.pad_sequence(wavs, batch_first=True), torch.tensor([len(wav) for wav in wavs])


@torch.no_grad()
def collect_below(prefix: FrozenPrefix, wavs: list[Tensor]) -> tuple[list[Tensor], Tensor, Tensor | None]:
    """The input of each layer below the cut, each (B, T, D), and what the prefix returns."""
    states: list[Tensor] = []
    hidden, mask = prefix(wavs, states.append)
    return [state[:, : hidden.size(1)] for state in states], hidden, mask


@torch.no_grad()
def collect_above(suffix: TrainableSuffix, hidden: Tensor, mask: Tensor | None) -> list[Tensor]:
    """The input of each layer above the cut and the output, each (B, T, D)."""
    states: list[Tensor] = []
    out = suffix(hidden, mask, states.append)
    return [*states, out]


def collect(prefix: FrozenPrefix, suffix: TrainableSuffix, wavs: list[Tensor]) -> tuple[list[Tensor], Tensor]:
    """The input of each layer and the output, each (B, T, D), and (B, T) True = valid."""
    below, hidden, mask = collect_below(prefix, wavs)
    valid = torch.ones(hidden.shape[:2], dtype=torch.bool) if mask is None else ~mask
    return below + collect_above(suffix, hidden, mask), valid


def assert_close(actual: Tensor, expected: Tensor, tolerance: float, what: object = "") -> None:
    """Equal within ``tolerance`` x the largest absolute value that is expected: errors of sums go with it."""
    assert actual.shape == expected.shape and actual.dtype == expected.dtype
    error, scale = float((actual - expected).abs().max()), float(expected.abs().max())
    assert error <= tolerance * scale, f"{what}: off by {error:.1e} at a scale of {scale:.1e}"


def differ(first: Tensor, second: Tensor, least: float = 1e-3) -> bool:
    """Whether two tensors differ by more than ``least`` x the scale."""
    return bool((first - second).abs().max() > least * second.abs().max())


def randomise_lora(model: nn.Module) -> nn.Module:
    """Give LoRA, which starts as no addition at all, a part in the result."""
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            nn.init.normal_(parameter, std=0.2)
    return model


def step(model: nn.Module, *args: Tensor) -> None:
    """One step of SGD at rate 1 on a random linear loss."""
    out = model(*args)
    out = out[0] if isinstance(out, tuple) else out
    # A squared sum would have no gradient through a norm.
    (out * torch.randn(out.shape, generator=torch.Generator().manual_seed(1))).sum().backward()
    torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=1.0).step()


# Registry


def test_every_family_and_variant_has_a_checkpoint():
    assert set(CHECKPOINTS) == {(family.name, variant) for family in FAMILIES for variant in family.variants}


# The cut


def list_mixers(k: int, key: tuple[str, str]) -> tuple[str, ...]:
    """Which mixers are run with so many layers of a checkpoint replaced."""
    if k == 2:
        without = {KEPT, "kv_pool"} if key in WITH_POSITIONS else {KEPT}  # tests/transfer/test_conversion.py
        return tuple(name for name in MIXER_NAMES if name not in without)
    attending = ("attention", "random_attention", "lora", "gc_lora")
    return ("wsm", *attending, DROP) if k == NUM_LAYERS else ("wsm",)


def test_surgery_leaves_the_states_below_the_cut(upstream, wavs):
    whole_model, batches = upstream.cut(num_replaced=0), (wavs[:1], wavs)
    wholes = [collect(*whole_model, batch) for batch in batches]
    assert len(wholes[0][0]) == NUM_LAYERS + 1
    for k in range(NUM_LAYERS + 1):
        prefix, plain = upstream.cut(num_replaced=k)
        runs = [collect_below(prefix, batch) for batch in batches]
        for (below, _, _), (whole, _) in zip(runs, wholes, strict=True):
            assert len(below) == NUM_LAYERS - k
            assert all(torch.equal(*pair) for pair in zip(below, whole, strict=False)), k
        for mixer in (None, *list_mixers(k, upstream.key)):
            suffix = plain if mixer is None else upstream.operate(plain, mixer=mixer, num_replaced=k)
            for (_, hidden, mask), (whole, valid) in zip(runs, wholes, strict=True):
                states = collect_above(suffix, hidden, mask)
                assert len(states) == (1 if mixer == DROP else k + 1), (mixer, k)
                if len(states) > 1:
                    assert torch.equal(states[0], whole[NUM_LAYERS - k]), (mixer, k)
                if k == 0 or mixer in (None, "attention", "lora", "gc_lora"):
                    assert_close(states[-1][valid], whole[-1][valid], 1e-5, (mixer, k))
                else:
                    assert differ(states[-1][valid], whole[-1][valid]), (mixer, k)


@contextmanager
def record_input(layer_class: type, family: FamilyContract) -> Iterator[list[Tensor]]:
    """The inputs of all layers of a class, wherever they are called."""
    inputs: list[Tensor] = []

    def record(module: nn.Module, args: tuple) -> None:
        if type(module) is layer_class:
            inputs.append(family.read_layer_input(args).clone())

    handle = nn.modules.module.register_module_forward_pre_hook(record)
    try:
        yield inputs
    finally:
        handle.remove()


def test_the_hidden_states_are_those_of_the_library(upstream, wavs):
    """Of single utterances: in a padded batch many libraries err, ours does not."""
    name, family = upstream.key[0], upstream.family
    reference, (prefix, suffix) = upstream.run_library(), upstream.cut(num_replaced=0)
    layer_class = type(family.encoder(load_upstream(upstream.path)[0]).layers[0])
    for wav in wavs:
        with record_input(layer_class, family) as inputs:
            library = reference([wav])
        if name == "distiller":  # the first is taken before the position convolution, predictions follow
            library = [inputs[0], *library[1 : NUM_LAYERS + 1]]
        elif name == "espnet_hubert":  # outputs of the layers alone
            library = [inputs[0], *library]
        if suffix.final_norm is not None and (name.startswith("hf_") or name == "espnet_hubert"):
            library[-1] = suffix.final_norm(library[-1]).detach()  # the library leaves it out
        ours, _ = collect(prefix, suffix, [wav])
        assert len(library) == len(ours) == NUM_LAYERS + 1
        for i, (state, expected) in enumerate(zip(ours, library, strict=True)):
            if name == "hf_wav2vec2_bert":  # its extractor makes one more frame and masks it
                assert expected.size(1) - state.size(1) in (0, 1)
                expected = expected[:, : state.size(1)]
            if upstream.is_library_exact:
                assert torch.equal(state, expected), i
            else:
                assert_close(state, expected, 2e-5, i)


def test_only_the_suffix_is_in_training_mode(of_each_class, wavs):
    encoder = of_each_class.build().train()
    assert not any(module.training for module in encoder.prefix.modules())
    assert all(module.training for module in encoder.suffix.modules())
    wavs = [wav.requires_grad_() for wav in wavs]  # so that a graph would show
    first, second = (encoder.prefix(wavs)[0] for _ in range(2))
    assert torch.equal(first, second) and not first.requires_grad and first.grad_fn is None
    assert not torch.equal(encoder(*pad(wavs))[0], encoder(*pad(wavs))[0])  # its dropout


def test_no_hook_outlives_a_call(of_each_class, wavs):
    """Neither S3PRL's, which collect hidden states, nor ours."""
    prefix, suffix = of_each_class.cut()
    collect(prefix, suffix, wavs)
    layers = of_each_class.family.encoder(prefix.expert)
    hooked = [m for m in (layers, *layers.layers, *suffix.layers) if m._forward_hooks or m._forward_pre_hooks]
    assert not hooked and len(layers.layers) > 0


def count_saved_bytes(compute: Callable[[], Tensor]) -> int:
    """Bytes of the distinct tensors, parameters included, that autograd keeps for a backward pass."""
    saved: dict[int, int] = {}

    def pack(tensor: Tensor) -> Tensor:
        saved[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    torch.manual_seed(0)
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        out = compute()
    assert out.requires_grad
    return sum(saved.values())


def test_autograd_keeps_nothing_from_below_the_cut(upstream, wavs):
    """Also in train mode, where transformers makes the output of the convolutions require a gradient."""
    prefix, plain = upstream.cut(num_replaced=1)
    model = nn.ModuleList([prefix, upstream.operate(plain, num_replaced=1)]).train()
    hidden, mask = prefix(wavs)
    suffix_alone = count_saved_bytes(lambda: model[1](hidden, mask))
    assert count_saved_bytes(lambda: model[1](*prefix(wavs))) == suffix_alone


@pytest.mark.parametrize("mixer", ["wsm", "attention", "lora"])
def test_what_is_computed_anew_changes_memory_and_no_gradient(of_each_class, wavs, mixer):
    """In train mode, with the dropout of the upstream's layers."""
    prefix, plain = of_each_class.cut(num_replaced=2)
    hidden, mask = prefix(wavs)
    found, kept = {}, {}
    for recompute in ("none", "auto", "block", "layer"):
        suffix = of_each_class.operate(plain, num_replaced=2, mixer=mixer, dropout=0.3, recompute=recompute)
        suffix.train()
        kept[recompute] = count_saved_bytes(lambda suffix=suffix: suffix(hidden, mask))
        torch.manual_seed(1)
        (suffix(hidden, mask) * torch.linspace(-1, 1, 32)).sum().backward()
        found[recompute] = [p.grad for p in suffix.parameters() if p.requires_grad]
    for recompute, gradients in found.items():
        for one, other in zip(gradients, found["none"], strict=True):
            assert_close(one, other, 1e-4, recompute)
    assert kept["layer"] < kept["block"] < kept["none"]
    assert kept["auto"] == kept["block" if mixer == "wsm" else "none"]


# What trains


# How the names of a layer's feed-forward begin, in all families.
FEED_FORWARD = ("fc1.", "fc2.", "feed_forward.", "ffn1.", "ffn2.")


def name_trained(names: set[str], trainable: str, mixer: str, replaced: tuple[int, ...]) -> set[str]:
    """Of the parameters of a suffix those that should train, from their names and places alone."""

    def trains(name: str) -> bool:
        if name.startswith("shared."):
            return False
        if name.startswith("final_norm."):
            return trainable != "mixer"
        _, place, part = name.split(".", 2)
        if mixer == "drop" or int(place) not in replaced:
            return trainable == "suffix"
        if part.startswith(("attention.", "self_attn.")):
            return mixer not in ("lora", "gc_lora") or "lora_" in part
        if part.startswith(FEED_FORWARD) and mixer == "reset":
            return True
        return trainable != "mixer"

    return {name for name in names if trains(name)}


# Softmax takes no notice of a bias of all keys: its gradient is rounding error, at times zero.
KEY_BIAS = ("k_proj.bias", "linear_k.bias", "k_proj.base_layer.bias", "linear_k.base_layer.bias", ".key.bias")


def test_one_step_changes_exactly_what_trains(upstream, wavs):
    controls = ("reset", "gc_lora", "kv_pool") if upstream.key in EACH_CLASS else ()
    controls = tuple(name for name in controls if name in list_mixers(2, upstream.key))
    # Of the two layers above the cut the lower one is replaced; then both.
    for conf, mixers in (
        ({"layers": [2]}, ("wsm", "attention", "lora", *controls, DROP)),
        ({"num_replaced": 2}, ("wsm",)),
    ):
        prefix, plain = upstream.cut(**conf)
        _, replaced = WsmConfig(upstream.path, **conf).place_cut(NUM_LAYERS)
        frozen = copy.deepcopy(prefix.state_dict())
        hidden, mask = prefix(wavs)
        for case in itertools.product(mixers, TRAINABLE):
            mixer, trainable = case
            suffix = randomise_lora(upstream.operate(plain, mixer=mixer, trainable=trainable, **conf)).train()
            before = {name: p.detach().clone() for name, p in suffix.named_parameters()}
            expected = name_trained(before.keys(), trainable, mixer, replaced)
            if not expected:
                assert mixer == DROP and not suffix(hidden, mask).requires_grad
                continue
            step(suffix, hidden, mask)
            after = dict(suffix.named_parameters())
            assert {n for n, p in after.items() if p.grad is not None} == expected, case
            changed = {n for n, p in after.items() if not torch.equal(p, before[n])}
            assert {n for n in changed ^ expected if not n.endswith(KEY_BIAS)} == set(), case
            assert changed <= expected, case
        assert all(p.grad is None for p in prefix.parameters())
        assert all(torch.equal(value, frozen[name]) for name, value in prefix.state_dict().items())


def test_the_table_names_every_part_and_its_parameters(upstream):
    for conf, kinds in (
        ({"num_replaced": 1}, ["frozen attention", "frozen attention", "wsm"]),
        ({"layers": [1, 3]}, ["wsm", "attention", "wsm"]),
        ({"num_replaced": 0}, ["frozen attention"] * 3),
        ({"layers": [2], "mixer": DROP}, ["frozen attention", None, "attention"]),
    ):
        prefix, plain = upstream.cut(**conf)
        expected = [("below", "frozen"), *((f"layer {i}", kind) for i, kind in enumerate(kinds, 1) if kind)]
        expected += [("shared", "position bias")] if upstream.key in WITH_BIAS and len(plain.layers) else []
        expected += [("final norm", "layer norm")] if upstream.is_pre_norm else []
        for trainable in TRAINABLE:
            config = WsmConfig(upstream.path, width=8, trainable=trainable, **conf)
            suffix, (num_below, replaced) = copy.deepcopy(plain), config.place_cut(NUM_LAYERS)
            above = prepare_suffix(suffix, replaced, dim=32, config=config)
            table = LayerTable((*describe_prefix(prefix), *describe_suffix(suffix, num_below, above)))
            assert [(row.layer, row.kind) for row in table.rows] == expected
            parameters = [*prefix.parameters(), *suffix.parameters()]
            assert table.trainable == sum(p.numel() for p in parameters if p.requires_grad)
            assert table.parameters == sum(p.numel() for p in parameters)
            first, *_, total = (line.split("|") for line in str(table).splitlines())
            assert [cell.strip() for cell in first] == ["layer", "kind", "trainable", "parameters"]
            assert total[2].strip() == f"{table.trainable:,}"


# An encoder's state is what requires a gradient, whatever the family: mixers are sampled.
STATES = [(key, "wsm", 2) for key in KEYS]
STATES += [(key, mixer, 2) for key in TWO_LORAS for mixer in ("reset", "kv_pool", "lora", "gc_lora")]
STATES += [(key, mixer, NUM_LAYERS) for key in WITH_BIAS for mixer in ("wsm", "random_attention")]


@pytest.mark.parametrize(("key", "mixer", "k"), STATES)
def test_a_state_holds_what_trains_and_restores_the_encoder(get_upstream, wavs, key, mixer, k):
    upstream = get_upstream(key)
    encoder = randomise_lora(upstream.build(mixer=mixer, num_replaced=k))
    step(encoder.train(), *pad(wavs))
    file = io.BytesIO()
    torch.save(encoder.state_dict(), file)
    file.seek(0)
    state = torch.load(file, weights_only=True)
    names = {name for name, _ in encoder.suffix.named_parameters()}
    trained = name_trained(names, "layer", mixer, tuple(range(NUM_LAYERS)))
    assert state.keys() == {f"suffix.{name}" for name in trained} | {"_extra_state"}
    fresh = upstream.build(mixer=mixer, num_replaced=k).eval()
    expected = encoder.eval()(*pad(wavs))[0]
    assert differ(fresh(*pad(wavs))[0], expected)
    fresh.load_state_dict(state)
    assert torch.equal(fresh(*pad(wavs))[0], expected)


def test_random_attention_keeps_nothing_that_was_pretrained(of_each_class):
    _, plain = of_each_class.cut()
    pretrained = dict(plain.named_parameters())
    kept = of_each_class.operate(plain, mixer="attention")
    assert all(torch.equal(p, pretrained[name]) for name, p in kept.named_parameters())
    names = name_trained(pretrained.keys(), "mixer", "random_attention", replaced=(0, 1))
    assert len(names) >= 2 * (4 + 3)  # layers, weights, biases: Whisper's keys have none
    for name, p in of_each_class.operate(plain, mixer="random_attention").named_parameters():
        assert torch.equal(p, pretrained[name]) == (name not in names), name
        if name in names and p.dim() == 1:  # biases
            assert not p.any(), name
        elif name.endswith(("grep_a", "gru_rel_pos_const")):
            assert (p == 1).all(), name


def test_reset_keeps_the_norms_and_what_is_neither_attention_nor_feed_forward(of_each_class):
    _, plain = of_each_class.cut()
    pretrained = dict(plain.named_parameters())
    names = name_trained(pretrained.keys(), "mixer", "reset", replaced=(0, 1))
    of_attention = name_trained(pretrained.keys(), "mixer", "random_attention", replaced=(0, 1))
    assert len(names - of_attention) >= 2 * 2 * 2  # layers, projections, weight and bias
    assert any("norm" in name for name in pretrained.keys() - names)
    for trainable in ("mixer", "layer"):
        suffix = of_each_class.operate(plain, mixer="reset", trainable=trainable)
        for name, p in suffix.named_parameters():
            assert torch.equal(p, pretrained[name]) == (name not in names), name
            if name in names - of_attention and p.dim() == 1:
                assert not p.any(), name


@torch.no_grad()
def catch_mixed(suffix: TrainableSuffix, hidden: Tensor, mask: Tensor, place: int = 0) -> Tensor:
    """(B, T, D) of what the attention of a layer, or what stands in its place, returns."""
    caught: list[Tensor] = []
    module = getattr(suffix.layers[place], suffix.family.attention)
    handle = module.register_forward_hook(lambda _module, _args, output: caught.append(output[0]))
    suffix(hidden, mask)
    handle.remove()
    (mixed,) = caught
    return mixed if len(mixed) == len(hidden) else mixed.transpose(0, 1)


def test_pooled_keys_of_one_frame_are_attention_or_are_refused(of_each_class, wavs):
    prefix, plain = of_each_class.cut()
    if of_each_class.key in WITH_POSITIONS:
        with pytest.raises(UserError, match=r"kv_pool does not fit .*: attention of \w+ adds a bias for the"):
            of_each_class.operate(plain, mixer="kv_pool")
        return
    hidden, mask = prefix(wavs)
    expected = catch_mixed(plain, hidden, mask)[~mask]
    one, four = (of_each_class.operate(plain, mixer="kv_pool", pool=pool) for pool in (1, 4))
    assert_close(catch_mixed(one, hidden, mask)[~mask], expected, 1e-5)
    assert differ(catch_mixed(four, hidden, mask)[~mask], expected)
    block = getattr(one.layers[0], of_each_class.family.attention).mixer
    assert block.dropout == pytest.approx(DROPOUT)


def test_head_windows_over_everything_are_attention_that_looks_evenly(of_each_class, wavs):
    """Which it does without keys, where nothing is added for the distance of two frames."""
    prefix, plain = of_each_class.cut(num_replaced=1)
    hidden, mask = prefix(wavs)
    even, family = copy.deepcopy(plain), of_each_class.family
    key = getattr(getattr(even.layers[0], family.attention), family.projections[1])
    for parameter in key.parameters():
        nn.init.zeros_(parameter)
    expected = catch_mixed(even, hidden, mask)[~mask]
    conf = {"num_replaced": 1, "mixer": "wsm_heads"}
    heads = getattr(plain.layers[0], family.attention).num_heads
    whole = of_each_class.operate(plain, windows=[[[-99, 99]] * heads], **conf)
    if of_each_class.key not in WITH_POSITIONS:
        assert_close(catch_mixed(whole, hidden, mask)[~mask], expected, 1e-5)
    local = of_each_class.operate(plain, windows=[[-1, 3]] * heads, **conf)
    assert differ(catch_mixed(local, hidden, mask)[~mask], expected)
    random = of_each_class.operate(plain, init="random", window=99, **conf)
    assert differ(catch_mixed(random, hidden, mask)[~mask], expected)


@pytest.mark.parametrize(
    ("conf", "message"),
    [
        ({"windows": [[0, 1]] * 9}, "windows are given for 9 heads, but the attention has "),
        ({"windows": [[[0, 1]] * 4], "num_replaced": 2}, "windows are given for "),
        ({"windows": "attention"}, "windows: attention is known where training has stored features"),
        ({"window": [3, 5]}, r"window \[3, 5\]: it takes one number, or windows"),
    ],
)
def test_windows_that_do_not_fit_the_heads_are_refused(get_upstream, conf, message):
    upstream = get_upstream(TWO_LORAS[0])
    _, plain = upstream.cut()
    with pytest.raises(UserError, match=f"mixer wsm_heads does not fit .*: {message}"):
        upstream.operate(plain, mixer="wsm_heads", **conf)


def test_weights_are_seen_in_attention_of_every_family(upstream, wavs):
    """They are those with which the output of the attention comes from its input."""
    prefix, plain = upstream.cut(num_replaced=2)
    hidden, mask = prefix(wavs)
    family, suffix, seen = upstream.family, copy.deepcopy(plain), {}
    attention = [getattr(layer, family.attention) for layer in suffix.layers]
    with watch_attention(suffix, range(2)) as watched:
        run_with_weights(suffix, hidden, mask, seen.__setitem__)
        pairs = [each.take() for each in watched]
    assert [getattr(layer, family.attention) for layer in suffix.layers] == attention
    _, _, value, out = (getattr(attention[1], name) for name in family.projections)
    weights, (given, came) = seen[1], pairs[1]
    assert_close(weights.sum(-1)[:, 0][~mask], torch.ones(int((~mask).sum())), 1e-5)
    assert not weights.masked_select(mask[:, None, None]).any(), "no weight is on padding"
    with torch.no_grad():
        heads = value(given).unflatten(-1, (weights.size(1), -1)).transpose(1, 2)
        expected = out((weights @ heads).transpose(1, 2).flatten(2))
        assert_close(came[~mask], expected[~mask], 1e-5)
        assert_close(suffix(hidden, mask)[~mask], plain(hidden, mask)[~mask], 1e-6)


def test_the_pairs_are_what_attention_or_a_layer_is_given_and_gives(of_each_class, wavs):
    prefix, plain = of_each_class.cut(num_replaced=2)
    hidden, mask = prefix(wavs)
    states = collect_above(plain, hidden, mask)
    (low, high), (_, last) = split_pairs(compute_pairs(plain, hidden, mask, [0, 1], "layer"), 2)
    assert torch.equal(low, states[0]) and torch.equal(high, states[1])
    if not of_each_class.is_pre_norm:
        assert_close(last[~mask], states[2][~mask], 1e-6)
    ((given, came),) = split_pairs(compute_pairs(plain, hidden, mask, [1]), 1)
    assert_close(came[~mask], catch_mixed(plain, hidden, mask, 1)[~mask], 1e-6)
    frames = int((~mask[1]).sum())
    alone = compute_pairs(plain, hidden[1:2, :frames], None, [1])
    assert_close(torch.cat([given, came], -1)[1, :frames], alone[0], 2e-5)


def test_a_bias_for_frames_ahead_is_where_the_heads_look(biased, wavs):
    prefix, plain = biased.cut(num_replaced=2)
    hidden, mask = prefix(wavs)
    suffix, batches = copy.deepcopy(plain), [(hidden, (29, 15, 21))]
    assert mask is not None and [29, 15, 21] == (~mask).sum(1).tolist()
    table = next(module for module in suffix.shared.modules() if isinstance(module, nn.Embedding))
    more = {} if biased.key[0].startswith("hf_") else {"bidirectional": True}
    ahead = int(suffix.shared._relative_positions_bucket(torch.tensor([3]), **more))
    with torch.no_grad():
        table.weight[:, 0] = 0.0
        table.weight[ahead, 0] = 50.0
    # The last three frames of an utterance have none three ahead, and look evenly: an eighth of all here.
    record = read_heads(suffix, batches, num_below=NUM_LAYERS - 2, share=0.25)
    assert [layer.layer for layer in record.layers] == [NUM_LAYERS - 1, NUM_LAYERS]
    for layer in record.layers:
        assert layer.windows[0] == (3, 3)
        assert layer.peaks[0] > 0.5 and not record.is_even


def test_gc_lora_adds_a_convolution_of_what_the_output_projection_is_given(of_each_class, wavs):
    """Which is computed back here from the output of the attention."""
    prefix, plain = of_each_class.cut()
    hidden, mask = prefix(wavs)
    hidden, plain, valid = hidden.double(), copy.deepcopy(plain).double(), ~mask
    pretrained = catch_mixed(plain, hidden, mask)
    projections = getattr(plain.layers[0], of_each_class.family.attention)
    projection = getattr(projections, of_each_class.family.projections[-1])
    given = torch.linalg.solve(projection.weight, (pretrained - projection.bias).mT).mT.detach()
    conf = {"mixer": "gc_lora", "lora_rank": 4, "lora_alpha": 6.0, "lora_kernel": 5, "trainable": "mixer"}
    suffix = of_each_class.operate(plain, **conf).double()
    assert_close(catch_mixed(suffix, hidden, mask)[valid], pretrained[valid], 1e-9)
    weights = {
        name.split(".")[-2]: p.detach()
        for name, p in randomise_lora(suffix).layers[0].named_parameters()
        if "lora_" in name
    }
    a, gate = (given @ weights["lora_A"].T).chunk(2, dim=-1)
    gated = a * gate.sigmoid() * valid.unsqueeze(-1)  # (B, T, r)
    wide = nn.functional.pad(gated, (0, 0, 2, 2))
    mixed = sum(wide[:, j : j + gated.size(1)] * weights["lora_conv"][:, 0, j] for j in range(5))
    expected = pretrained + 6.0 / 4 * mixed @ weights["lora_B"].T
    assert_close(catch_mixed(suffix, hidden, mask)[valid], expected[valid], 1e-9)
    assert differ(expected[valid], pretrained[valid])


@pytest.mark.parametrize(
    ("key", "mixer"),
    [(key, "wsm") for key in EACH_CLASS]
    + [
        (key, mixer)
        for key in TWO_LORAS
        for mixer in ("wsm_heads", "attention", "kv_pool", "lora", "gc_lora")
    ],
)
def test_espnets_init_keeps_what_came_with_the_upstream(get_upstream, key, mixer):
    conf = {"upstream": get_upstream(key).path, "mixer": mixer, "windows": 10}
    args = argparse.Namespace(
        token_list=["<blank>", "<unk>", "A", "<sos/eos>"], input_size=1, frontend=None, frontend_conf={},
        specaug=None, normalize=None, preencoder=None, encoder=register.NAME, encoder_conf=conf,
        postencoder=None, decoder=None, ctc_conf={}, model="espnet", model_conf={"ctc_weight": 1.0},
        init="xavier_uniform", output_dir=None,
    )  # fmt: skip
    encoder = WsmASRTask.build_model(args).encoder
    plain = dict(WsmS3prlEncoder(1, **conf).named_parameters())
    initialised = dict(encoder.named_parameters())
    assert initialised.keys() == plain.keys()
    changed = {name for name, p in initialised.items() if not torch.equal(p, plain[name])}
    marks = {
        "wsm": (".mixer.",),
        "wsm_heads": (".mixer.frame.",),
        "lora": (".lora_A.",),
        "gc_lora": (".lora_A.", ".lora_conv."),
    }
    new = {name for name in plain if any(mark in name for mark in marks.get(mixer, ()))}
    assert changed == new and bool(new) == (mixer in marks)
    assert not any(p.any() for name, p in initialised.items() if "lora_B" in name)


def test_lora_learns_and_is_the_sum_of_the_weights(of_each_class, wavs):
    prefix, plain = of_each_class.cut()
    hidden, mask = prefix(wavs)
    conf = {"mixer": "lora", "lora_rank": 4, "lora_alpha": 6.0, "trainable": "mixer"}
    suffix = of_each_class.operate(plain, **conf)
    start = {name: p.detach().clone() for name, p in suffix.named_parameters() if "lora_" in name}
    assert len(start) == 2 * 4 * 2  # layers, projections, A and B
    pretrained = plain(hidden, mask).detach()
    parameters = dict(suffix.named_parameters())
    for trains in (lambda name: "lora_B" in name, lambda name: True):  # A has no gradient while B is zero
        step(suffix, hidden, mask)
        changed = {name for name, value in start.items() if not torch.equal(parameters[name], value)}
        assert changed == set(filter(trains, start))

    merged = copy.deepcopy(plain)  # W + B A alpha / r, in the modules of the library
    weights = dict(merged.named_parameters())
    with torch.no_grad():
        for name in start:
            if ".lora_B." in name:
                b, a = parameters[name], parameters[name.replace("lora_B", "lora_A")]
                base = name.replace(".lora_B.default", "")
                base = base if of_each_class.family.calls_projections else base.replace(".attention.", ".")
                weights[base] += b @ a * 6.0 / 4
    out, valid = suffix(hidden, mask).detach(), ~mask
    assert differ(out[valid], pretrained[valid])
    assert_close(out[valid], merged(hidden, mask).detach()[valid], 1e-5)


# Precision and compilation


def test_a_half_precision_prefix_is_close_and_its_suffix_trains_under_autocast(upstream, wavs):
    prefix, _ = upstream.cut()
    full, mask = prefix(wavs)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(prefix(wavs)[0], full)
    for dtype, mixers in ((torch.float16, ("wsm",)), (torch.bfloat16, ("attention", "lora", "gc_lora"))):
        prefix, plain = upstream.cut(prefix_dtype=str(dtype).removeprefix("torch."))
        prefix.to(torch.float32)  # as ESPnet's trainer does: it keeps its own
        grouped = {name for name, m in prefix.named_modules() if isinstance(m, nn.Conv1d) and m.groups > 1}
        dtypes = {name: p.dtype for name, p in prefix.named_parameters()}
        assert {d for name, d in dtypes.items() if not name.startswith(tuple(grouped))} == {dtype}
        half, _ = prefix(wavs)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            assert torch.equal(prefix(wavs)[0], half)
        error = (half - full)[~mask].norm() / full[~mask].norm()
        assert half.dtype == torch.float32 and 0 < error < 0.05
        for mixer in mixers:
            suffix = upstream.operate(plain, mixer=mixer).train()
            with torch.autocast("cpu", dtype=torch.bfloat16):
                out = suffix(half, mask)
            loss = (out.float() * torch.randn(out.shape)).mean()
            loss.backward()
            grads = {name: p.grad for name, p in suffix.named_parameters() if p.requires_grad}
            assert loss.isfinite() and len(grads) > 0
            assert all(grad is not None and grad.isfinite().all() for grad in grads.values())


@pytest.mark.parametrize("key", EACH_LAYER, ids=" ".join)
def test_a_compiled_suffix_gives_the_eager_result(get_upstream, wavs, key):
    """In one graph; the code generator, which needs a C++ compiler, runs in tests/mixing on the block."""
    upstream = get_upstream(key)
    prefix, plain = upstream.cut(layers=[2])  # a block of ours, and attention above it
    suffix = upstream.operate(plain, layers=[2], trainable="suffix")
    hidden, mask = prefix(wavs)
    torch._dynamo.reset()
    compiled = torch.compile(suffix, backend="eager", fullgraph=True)
    results = []
    for module in (suffix, compiled):
        out = module(hidden, mask)[~mask]
        trained = [p for p in suffix.parameters() if p.requires_grad]
        grads = torch.autograd.grad(out.square().mean(), trained)
        results.append((out.detach(), torch.cat([grad.flatten() for grad in grads])))
    torch._dynamo.reset()
    for eager, compiled in zip(*results, strict=True):
        assert_close(compiled, eager, 1e-5)


# Padding


def assert_exact(
    prefix: FrozenPrefix, suffix: TrainableSuffix, *batches: list[Tensor], tolerance: float = 1e-5
) -> None:
    """Each utterance of each batch has the states that it has alone."""
    for batch in batches:
        together, valid = collect(prefix, suffix, batch)
        for b, wav in enumerate(batch):
            alone, own = collect(prefix, suffix, [wav])
            assert own.all() and valid[b].sum() == own.sum()
            for i, (state, expected) in enumerate(zip(together, alone, strict=True)):
                assert_close(state[b, : own.sum()], expected[0], tolerance, (i, len(wav)))


def test_an_utterance_does_not_depend_on_its_neighbours(upstream, wavs):
    batches = [wavs, [wavs[1], *draw(8000, 480, seed=8)]]
    controls = [m for m in ("kv_pool", "gc_lora") if m in list_mixers(2, upstream.key)]
    for k, mixers in ((2, ("wsm", "attention", *controls)), (NUM_LAYERS, ("attention",))):
        prefix, plain = upstream.cut(num_replaced=k)
        for mixer in mixers:
            suffix = randomise_lora(upstream.operate(plain, mixer=mixer, num_replaced=k))
            assert_exact(prefix, suffix, *batches)


@pytest.mark.parametrize("key", [("wavlm", PRE_NORM), ("hf_hubert", PRE_NORM)], ids=" ".join)
def test_an_utterance_does_not_depend_on_any_neighbours(get_upstream, key):
    upstream = get_upstream(key)
    prefix, plain = upstream.cut()
    suffix = upstream.operate(plain)

    @SLOW
    @given(st.lists(st.integers(400, 12000), min_size=2, max_size=4), st.integers(0, 99))
    def check(lengths: list[int], seed: int) -> None:
        assert_exact(prefix, suffix, draw(*lengths, seed=seed))

    check()


def test_padding_is_exact_in_float64(upstream, wavs):
    """Whatever float32 hides: no neighbour enters at all."""
    encoder = upstream.build().double().eval()
    wavs = [wav.double() for wav in wavs]
    hidden, mask = encoder.prefix(wavs)
    assert hidden.dtype == torch.float64
    # S3PRL's own group norm computes in float32, whatever it is given.
    norms = [m for m in encoder.prefix.modules() if isinstance(m, nn.GroupNorm)]
    in_float32 = any(type(norm) is not nn.GroupNorm for norm in norms)
    assert_exact(encoder.prefix, encoder.suffix, wavs, tolerance=1e-5 if in_float32 else 1e-10)

    with torch.no_grad():
        together = encoder.suffix(hidden, mask)
        for b, frames in enumerate((~mask).sum(dim=1).tolist()):
            alone = encoder.suffix(hidden[b : b + 1, :frames])
            assert_close(together[b, :frames], alone[0], 1e-10)
        assert differ(encoder.suffix(hidden)[1], together[1]), "the mask takes no part"


def test_without_exact_padding_norms_and_stacks_take_the_padding_along(upstream, wavs):
    prefix, plain = upstream.cut(exact_padding=False)
    if "group norm" in upstream.key[1]:  # full checkpoints hold the prefix under the library's names
        assert prefix.state_dict().keys() == upstream.cut()[0].state_dict().keys()
    suffix = upstream.operate(plain)
    exact = upstream.key not in OVER_TIME
    if exact:
        assert_exact(prefix, suffix, wavs)
    else:
        (together, _), (alone, own) = (collect(prefix, suffix, batch) for batch in (wavs, wavs[1:2]))
        assert differ(together[0][1, : own.sum()], alone[0][0])
        assert differ(together[-1][1, : own.sum()], alone[-1][0])


# Frames

LONGEST = 35 * 16000


def count(length: int) -> int:
    """Frames of so many samples."""
    return (length - 400) // 320 + 1


@pytest.mark.parametrize(
    "key",
    [
        ("wav2vec2", POST_NORM),
        ("hf_hubert", PRE_NORM),
        ("espnet_hubert", PRE_NORM),
        ("distiller", POST_NORM),
    ],
    ids=" ".join,
)
def test_frames_are_counted_as_the_library_makes_them(get_upstream, key):
    upstream = get_upstream(key)
    expert, _ = load_upstream(upstream.path)
    # Seven convolutions without padding see 400 samples and advance by 320, the period of any error.
    lengths = (*range(400, 400 + 3 * 320), *range(LONGEST - 320, LONGEST + 1))
    assert upstream.family.count_frames(expert, lengths) == tuple(map(count, lengths))
    reference, (prefix, _) = upstream.run_library(), upstream.cut()

    @SLOW
    @example(LONGEST)
    @given(st.integers(400, 2 * 16000))
    def check(length: int) -> None:
        (wav,) = draw(length)
        assert reference([wav])[-1].size(1) == prefix([wav])[0].size(1) == count(length)

    check()


def test_frames_of_whisper_are_those_of_transformers(get_upstream):
    upstream = get_upstream(("whisper", "pre-norm, on log-mel"))
    expert, _ = load_upstream(upstream.path)
    reference, (prefix, _) = upstream.run_library(), upstream.cut()

    @SLOW
    @example(400)
    @example(480000)
    @given(st.integers(400, 2 * 16000))
    def check(length: int) -> None:
        (wav,) = draw(length)
        expected = (length + 160) // 320
        assert upstream.family.count_frames(expert, (length,)) == (expected,)
        assert reference([wav])[-1].size(1) == prefix([wav])[0].size(1) == expected

    check()


def test_frames_of_wav2vec2_bert_are_those_of_its_extractor(get_upstream):
    upstream = get_upstream(("hf_wav2vec2_bert", "layer norm"))
    expert, _ = load_upstream(upstream.path)
    prefix, _ = upstream.cut()

    @SLOW
    @example(LONGEST)
    @given(st.integers(560, 2 * 16000))  # of less its extractor makes no frame; ours pads
    def check(length: int) -> None:
        (wav,) = draw(length)
        inputs = expert.extracter(wav.numpy(), sampling_rate=16000, return_attention_mask=True)
        frames = int(inputs["attention_mask"].sum())
        assert (frames,) == upstream.family.count_frames(expert, (length,))
        assert prefix([wav])[0].size(1) == frames

    check()
    assert upstream.family.count_frames(expert, (400,)) == (prefix(draw(400))[0].size(1),) == (1,)


# Stored


def test_a_stored_cut_gives_back_prefix_and_suffix(upstream, wavs, tmp_path):
    """At k = 0 no layer is left to store, but the final norm of upstreams that have one."""
    for k in (0, 2, NUM_LAYERS):
        config = WsmConfig(upstream.path, num_replaced=k)
        prefix, suffix = upstream.cut(num_replaced=k)
        torch.manual_seed(3)
        expected = torch.rand(4)
        torch.manual_seed(3)
        cut = store_cut(tmp_path / str(k), config)
        stored = load_suffix(tmp_path / str(k), cut)
        assert torch.equal(torch.rand(4), expected), (
            "new blocks start the same, loaded from here or from there"
        )
        assert read_cut(tmp_path / str(k)) == cut == check_cut(tmp_path / str(k), config)
        assert cut.below == describe_prefix(prefix) and cut.num_above == len(suffix.layers) == k
        weights, stored_weights = suffix.state_dict(), stored.state_dict()
        assert list(weights) == list(stored_weights)
        assert all(torch.equal(value, stored_weights[name]) for name, value in weights.items())
        assert any(name.startswith("shared.") for name in weights) == (upstream.key in WITH_BIAS and k > 0)
        hidden, mask = prefix(wavs)
        if k == 0:
            assert len(weights) == (2 if upstream.is_pre_norm else 0)
            assert prepare_suffix(stored, (), cut.dim, config) == {}
            assert not any(p.requires_grad for p in stored.parameters())
            assert torch.equal(stored(hidden, mask), hidden) != upstream.is_pre_norm
        if k == 2:
            again, again_mask = load_prefix(tmp_path / str(k))(wavs)
            assert torch.equal(again, hidden) and torch.equal(again_mask, mask)
        states, stored_states = (collect(prefix, each, wavs)[0] for each in (suffix, stored))
        assert all(torch.equal(*pair) for pair in zip(states, stored_states, strict=True))
        suffixes = [upstream.operate(each, num_replaced=k) for each in (suffix, stored)]
        assert torch.equal(*(each(hidden, mask) for each in suffixes))
        if k > 0:  # dropout, which eval mode hides, is as it was
            outs = []
            for each in (suffix, stored):
                torch.manual_seed(0)
                outs.append(copy.deepcopy(each).train()(hidden, mask))
            assert torch.equal(*outs) and not torch.equal(outs[0], suffix(hidden, mask))


# Relative positions


@torch.no_grad()
def run_library_layers(
    family: FamilyContract, layers: list[nn.Module], x: Tensor, mask: Tensor, bias: Tensor
) -> Tensor:
    """WavLM's layers one after the other, each with this bias."""
    for layer in layers:
        if family.name == "wavlm":
            x = layer(x.transpose(0, 1), self_attn_padding_mask=mask, pos_bias=bias)[0].transpose(0, 1)
        else:
            x = layer(x, attention_mask=~mask, position_bias=bias)[0]
    return x


@pytest.mark.parametrize("mixer", ["wsm", "drop"])
def test_the_position_bias_outlives_the_layer_that_makes_it(biased, wavs, mixer):
    prefix, plain = biased.cut(layers=[1])
    suffix = biased.operate(plain, layers=[1], mixer=mixer)
    hidden, mask = prefix(wavs)
    expert, _ = load_upstream(biased.path)
    encoder = biased.family.encoder(expert)
    attention = getattr(encoder.layers[0], biased.family.attention)
    bias = attention.compute_bias(hidden.size(1), hidden.size(1)).detach().repeat(len(wavs), 1, 1)
    above = [*encoder.layers][1:]
    layers = above if mixer == "drop" else [suffix.layers[0], *above]
    expected, without = (
        run_library_layers(biased.family, layers, hidden, mask, b)[~mask] for b in (bias, 0 * bias)
    )
    if suffix.final_norm is not None:
        expected, without = encoder.layer_norm(expected).detach(), encoder.layer_norm(without).detach()
    assert_close(suffix(hidden, mask)[~mask].detach(), expected, 1e-5)
    assert differ(without, expected, 1e-2), "the bias takes no part"


@pytest.mark.parametrize("k", [2, NUM_LAYERS])
def test_no_position_bias_is_made_where_nothing_attends(biased, wavs, monkeypatch, k):
    def refuse(*_: object) -> None:
        raise AssertionError("a bias of T x T")

    prefix, plain = biased.cut(num_replaced=k)
    hidden, mask = prefix(wavs)
    monkeypatch.setattr(PositionBias, "forward", refuse)
    biased.operate(plain, num_replaced=k)(hidden, mask)
    with pytest.raises(AssertionError, match="T x T"):
        biased.operate(plain, mixer="attention", num_replaced=k)(hidden, mask)
