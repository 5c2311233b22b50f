"""The encoder behind ESPnet's interface."""

import argparse
import copy

import pytest
import torch
from espnet2.tasks.asr import ASRTask, encoder_choices
from espnet2.utils.get_default_kwargs import get_default_kwargs

from espnet_wsm.errors import UserError
from espnet_wsm.plugin import register
from espnet_wsm.plugin.encoder import WsmS3prlEncoder
from espnet_wsm.upstream.config import KEPT, MIXER_NAMES

TOKENS = ["<blank>", "<unk>", "A", "B", "<sos/eos>"]


@pytest.fixture
def make_encoder(upstream_path):
    """``make_encoder(family, pre_norm, **conf)``."""

    def make(family: str = "hf_hubert", pre_norm: bool = True, **conf) -> WsmS3prlEncoder:
        torch.manual_seed(0)
        return WsmS3prlEncoder(1, upstream=upstream_path(family, pre_norm), **{"window": 3} | conf)

    return make


def pad(wavs: list[torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.nn.utils.rnn.pad_sequence(wavs, batch_first=True), torch.tensor([len(w) for w in wavs])


def test_it_is_registered_under_its_name_with_the_defaults_of_the_configuration():
    assert encoder_choices.get_class(register.NAME) is WsmS3prlEncoder
    defaults = get_default_kwargs(WsmS3prlEncoder)
    assert defaults["num_replaced"] == 2 and defaults["mixer"] == "wsm"


@pytest.mark.parametrize(
    ("family", "mixer"),
    [
        *(("hf_hubert", mixer) for mixer in MIXER_NAMES if mixer != KEPT),
        *((name, "wsm") for name in ("hf_wav2vec2", "hubert", "wav2vec2")),
    ],
)
def test_frames_and_lengths_follow_the_upstream(make_encoder, wavs, family, mixer):
    encoder = make_encoder(family, mixer=mixer, windows=None).eval()
    out, lengths, state = encoder(*pad(wavs))
    assert out.shape == (3, 49, encoder.output_size()) and state is None
    assert lengths.dtype == torch.long
    assert lengths.tolist() == [49, 29, 14]  # (n - 400) // 320 + 1
    assert out.isfinite().all()


def test_an_utterance_alone_equals_the_same_in_a_batch(make_encoder, family_name, wavs):
    encoder = make_encoder(family_name, pre_norm=False).eval()  # whose group norm reaches over time
    together, lengths, _ = encoder(*pad(wavs))
    for b, wav in enumerate(wavs):
        alone, length, _ = encoder(*pad([wav]))
        assert length.item() == lengths[b]
        torch.testing.assert_close(together[b, : lengths[b]], alone[0], atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("family_name", ["hf_hubert", "wav2vec2"])
def test_less_than_one_frame_of_audio_gives_one_frame(make_encoder, family_name):
    encoder = make_encoder(family_name).eval()
    for wavs in ([torch.randn(7)], [torch.randn(7), torch.randn(4000)]):
        out, lengths, _ = encoder(*pad(wavs))
        assert lengths[0] == 1 and out.isfinite().all()


def test_espnets_cer_of_a_padded_batch_is_that_of_its_utterances_alone(upstream_path, wavs):
    """ESPnet's best path also runs over the padding, where an encoder may leave anything."""
    torch.manual_seed(3)
    model = build({"upstream": upstream_path("hf_hubert", True), "window": 2}).eval()
    torch.nn.init.normal_(model.ctc.ctc_lo.weight, std=3.0)  # a head that finds many tokens
    texts = [torch.tensor([2, 3]), torch.tensor([3, 3, 2]), torch.tensor([2])]
    text = torch.nn.utils.rnn.pad_sequence(texts, batch_first=True, padding_value=-1)

    def cer(wavs, text, lengths) -> float:
        with torch.no_grad():
            return float(model(*pad(wavs), text, torch.tensor(lengths))[1]["cer_ctc"])

    alone = [cer([w], t.unsqueeze(0), [len(t)]) * len(t) for w, t in zip(wavs, texts, strict=True)]
    assert sum(alone) > 6, "the case is too easy"
    assert cer(wavs, text, [2, 3, 1]) == pytest.approx(sum(alone) / 6)


def test_training_mode_leaves_the_prefix_deterministic(make_encoder, wavs):
    encoder = make_encoder(dropout=0.5).train()
    xs, ns = pad(wavs)
    hidden = [encoder.prefix([x[:n] for x, n in zip(xs, ns, strict=True)])[0] for _ in range(2)]
    assert torch.equal(*hidden)
    assert not torch.equal(encoder(xs, ns)[0], encoder(xs, ns)[0])


def test_autocast_trains(make_encoder, wavs):
    encoder = make_encoder().train()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        out, _, _ = encoder(*pad(wavs))
        out.float().pow(2).mean().backward()
    grads = [p.grad for p in encoder.parameters() if p.requires_grad]
    assert all(g is not None and g.isfinite().all() for g in grads)
    assert all(p.grad is None for p in encoder.prefix.parameters())


@pytest.mark.parametrize("mixer", ["wsm", "attention", "kv_pool", "gc_lora"])
def test_a_suffix_in_bfloat16_trains_and_hands_on_float32_close_to_float32(make_encoder, wavs, mixer):
    outputs = []
    for dtype in ("float32", "bfloat16"):
        torch.manual_seed(0)
        encoder = make_encoder("hf_hubert", mixer=mixer, suffix_dtype=dtype).train()
        outputs.append(encoder(*pad(wavs))[0])
    exact, rounded = outputs
    assert rounded.dtype == torch.float32
    difference = (rounded - exact).norm() / exact.norm()
    assert 1e-5 < difference < 0.02
    rounded.sum().backward()
    assert all(p.grad is not None for p in encoder.parameters() if p.requires_grad)


def build(encoder_conf: dict, **changes):
    args = argparse.Namespace(
        token_list=TOKENS, input_size=1, frontend=None, frontend_conf={}, specaug=None, normalize=None,
        preencoder=None, encoder="wsm_s3prl", encoder_conf=encoder_conf, postencoder=None, decoder=None,
        ctc_conf={}, model="espnet", model_conf={"ctc_weight": 1.0}, init=None,
    )  # fmt: skip
    vars(args).update(changes)
    return ASRTask.build_model(args)


def test_espnets_init_draws_attention_that_forgets_anew(upstream_path):
    """All other mixers, in every family: tests/upstream/test_families.py."""
    conf = {"upstream": upstream_path("hf_hubert", True), "mixer": "random_attention"}
    plain = dict(WsmS3prlEncoder(1, **conf).named_parameters())
    model = build(copy.deepcopy(conf), init="xavier_uniform")
    changed = {k for k, v in model.encoder.named_parameters() if not torch.equal(v, plain[k])}
    assert changed and all(".attention." in k and k.startswith("suffix.layers.") for k in changed)


@pytest.mark.parametrize(
    ("decoder", "decoder_conf"), [("transformer", {"num_blocks": 1, "linear_units": 16}), ("rnn", {})]
)
def test_a_hybrid_decoder_is_one_configuration_away(upstream_path, wavs, decoder, decoder_conf):
    model = build(
        {"upstream": upstream_path("hf_hubert", True)},
        decoder=decoder,
        decoder_conf=decoder_conf,
        model_conf={"ctc_weight": 0.3},
    )
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    before = {k: v.clone() for k, v in model.named_parameters()}
    speech, lengths = pad(wavs)
    loss, stats, _ = model(speech, lengths, torch.tensor([[2, 3], [3, -1], [2, -1]]), torch.tensor([2, 1, 1]))
    loss.backward()
    optimizer.step()
    assert stats["loss_att"] > 0 and stats["loss_ctc"] > 0
    changed = {k for k, v in model.named_parameters() if not torch.equal(v, before[k])}
    assert any(k.startswith("decoder.") for k in changed)
    assert any(k.startswith("encoder.suffix.") for k in changed)
    assert not any(k.startswith("encoder.prefix.") for k in changed)


def test_a_wrong_configuration_is_a_user_error(upstream_path):
    with pytest.raises(UserError, match="num_replaced is 9, but the upstream has only 3 layers"):
        build({"upstream": upstream_path("hf_hubert", True), "num_replaced": 9})


def test_a_stream_of_the_encoder_gives_its_output_piece_by_piece(make_encoder, wavs):
    encoder = make_encoder(causal=True).eval()
    with torch.inference_mode():
        whole, _, _ = encoder(*pad(wavs[:1]))
        hidden, _ = encoder.prefix(wavs[:1])
    stream = encoder.open_stream()
    pieces = [stream.push(piece) for piece in hidden[:, :40].split(7, dim=1)]
    pieces.append(stream.push(hidden[:, 40:], last=True))
    torch.testing.assert_close(torch.cat(pieces, dim=1), whole, atol=1e-5, rtol=0)


def test_an_encoder_that_cannot_stream_says_so_before_it_starts(make_encoder):
    with pytest.raises(UserError, match="features: weighted_sum adds up states of the layers below the cut"):
        make_encoder(causal=True, features="weighted_sum").open_stream()
    with pytest.raises(UserError, match=r"averages over the whole utterance; .*causal: true"):
        make_encoder().open_stream()
