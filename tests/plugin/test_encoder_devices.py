"""The encoder on the CPU and on a GPU: the same numbers, however batched or stored, and training."""

import copy
import warnings

import pytest
import torch
import yaml

from espnet_wsm.bin import asr_train
from espnet_wsm.plugin.encoder import WsmS3prlEncoder
from espnet_wsm.plugin.model import WsmASRModel
from espnet_wsm.stages import cache_features

MIXERS = ["wsm", "wsm_heads", "attention", "kv_pool"]


@pytest.fixture
def make_encoder(upstream_path, device):
    """``make_encoder(family, **conf)``, on the device, in eval mode; its layers have a group norm below."""

    def make(family: str = "hf_wav2vec2", **conf) -> WsmS3prlEncoder:
        torch.manual_seed(0)
        encoder = WsmS3prlEncoder(
            1, upstream=upstream_path(family, False), **{"window": 3, "windows": None} | conf
        )
        return encoder.eval().to(device)

    return make


@pytest.fixture
def batch(wavs, device) -> tuple[torch.Tensor, torch.Tensor]:
    """Three waveforms of different length, padded, on the device."""
    padded = torch.nn.utils.rnn.pad_sequence(wavs, batch_first=True)
    return padded.to(device), torch.tensor([len(wav) for wav in wavs], device=device)


def largest_difference(one: torch.Tensor, other: torch.Tensor) -> float:
    """Relative to the greatest value."""
    one, other = one.double().cpu(), other.double().cpu()
    return float((one - other).abs().max() / other.abs().max())


def within(encoded: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
    """The frames that are none of padding."""
    frames = torch.arange(encoded.size(1), device=encoded.device)
    return encoded[frames < lengths.unsqueeze(1)]


@torch.no_grad()
def test_the_output_is_that_of_the_cpu(make_encoder, batch, family_name, record_property):
    encoder = make_encoder(family_name)
    found, lengths, _ = encoder(*batch)
    on_cpu = copy.deepcopy(encoder).cpu()
    expected, expected_lengths, _ = on_cpu(*(tensor.cpu() for tensor in batch))
    assert lengths.tolist() == expected_lengths.tolist() == [49, 29, 14]
    difference = largest_difference(within(found, lengths), within(expected, expected_lengths))
    record_property("relative difference", difference)
    assert difference < 1e-4


@pytest.mark.parametrize("mixer", MIXERS)
@torch.no_grad()
def test_an_utterance_alone_equals_the_same_in_a_padded_batch(make_encoder, batch, mixer, record_property):
    encoder = make_encoder(mixer=mixer)
    together, lengths, _ = encoder(*batch)
    differences = []
    for b, samples in enumerate(batch[1].tolist()):
        alone, length, _ = encoder(batch[0][b : b + 1, :samples], batch[1][b : b + 1])
        assert length.item() == lengths[b].item()
        differences.append(largest_difference(together[b, : lengths[b]], alone[0]))
    record_property("relative difference", max(differences))
    assert max(differences) < 1e-4


@pytest.mark.parametrize("mixer", MIXERS)
@torch.no_grad()
def test_stored_features_give_what_the_waveform_gives(make_encoder, batch, mixer, record_property):
    """Each utterance's features are stored from a batch of their own, and padded again for training."""
    encoder = make_encoder(mixer=mixer)
    expected, lengths, _ = encoder(*batch)
    stored = [
        encoder.prefix([wav[:samples]])[0][0].cpu()
        for wav, samples in zip(batch[0], batch[1].tolist(), strict=True)
    ]
    assert [len(features) for features in stored] == lengths.tolist()
    hidden = torch.nn.utils.rnn.pad_sequence(stored, batch_first=True).to(batch[0].device)
    found, _, _ = encoder(hidden, lengths)
    difference = largest_difference(within(found, lengths), within(expected, lengths))
    record_property("relative difference", difference)
    assert difference < 1e-4


@pytest.mark.parametrize("mixer", ["wsm", "wsm_heads", "attention"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16], ids=str)
def test_training_lowers_the_loss_and_leaves_the_prefix(make_encoder, batch, device, mixer, dtype):
    """As ESPnet trains with use_amp, whose scaler also watches over bfloat16."""
    from espnet2.asr.ctc import CTC

    encoder = make_encoder(mixer=mixer).train()
    model = torch.nn.ModuleDict({"encoder": encoder, "ctc": CTC(6, encoder.output_size()).to(device)})
    before = {name: value.clone() for name, value in model.named_parameters()}
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=3e-3)
    scaler = torch.amp.GradScaler(device.type, init_scale=256.0, enabled=dtype != torch.float32)
    texts = torch.tensor([[2, 3, 4], [3, 4, -1], [5, -1, -1]], device=device)
    text_lengths = torch.tensor([3, 2, 1], device=device)
    losses = []
    for _ in range(8):
        with torch.autocast(device.type, dtype, enabled=dtype != torch.float32):
            encoded, lengths, _ = encoder(*batch)
            loss = model["ctc"](encoded, lengths, texts, text_lengths)
        scaler.scale(loss).backward()
        scaler.unscale_(optimizer)
        assert all(p.grad is not None and p.grad.isfinite().all() for p in trained)
        scaler.step(optimizer)
        scaler.update()
        optimizer.zero_grad(set_to_none=True)
        losses.append(loss.item())
    assert losses[-1] < 0.7 * losses[0]
    for name, value in model.named_parameters():
        assert torch.equal(value, before[name]) != value.requires_grad, name


@pytest.mark.parametrize("mixer", ["wsm", "wsm_heads", "attention"])
def test_two_masked_views_of_each_utterance_train(make_encoder, batch, device, mixer):
    """Consistency regularisation, in the half precision of the device as recipes have it."""
    from espnet2.asr.ctc import CTC
    from espnet2.asr.specaug.specaug import SpecAug

    encoder = make_encoder(mixer=mixer)
    encoder.specaug = SpecAug(apply_time_warp=False, time_mask_width_ratio_range=(0.1, 0.3))
    parts = dict.fromkeys(("frontend", "specaug", "normalize", "preencoder", "postencoder", "decoder"))
    tokens = ["<blank>", "<unk>", "A", "B", "C", "<sos/eos>"]
    model = WsmASRModel(
        **parts, vocab_size=6, token_list=tokens, encoder=encoder, ctc=CTC(6, encoder.output_size()),
        joint_network=None, ctc_weight=1.0, consistency=0.2, consistency_warmup=2,
    )  # fmt: skip
    model = model.to(device).train()
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=3e-3)
    texts = torch.tensor([[2, 3, 4], [3, 4, -1], [4, -1, -1]], device=device)
    losses = []
    for _ in range(8):
        with torch.autocast(device.type, torch.bfloat16):
            loss, stats, _ = model(*batch, texts.clone(), torch.tensor([3, 2, 1], device=device))
        loss.backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        losses.append(float(stats["loss_ctc"]))
        assert 0 < float(stats["loss_consistency"]) < float("inf")
    assert losses[-1] < 0.7 * losses[0]


def test_views_a_guide_and_layers_that_hear_ctc_train_together(
    training_arguments, build, wavs, device, tmp_path
):
    """In the half precision of the device; the guide goes where the batch is."""
    asr_train.main(
        [*training_arguments(tmp_path / "teacher", max_epoch=1), "--encoder_conf", "mixer=attention"]
    )
    conf = {"guide": str(tmp_path / "teacher"), "consistency": 0.2, "interctc_weight": 0.3}
    layers = ("num_replaced=3", "interctc_layer_idx=[2]", "interctc_use_conditioning=true")
    model = build(conf, *(word for part in layers for word in ("--encoder_conf", part))).to(device).train()
    model.open_guide()
    padded = torch.nn.utils.rnn.pad_sequence(wavs, batch_first=True).to(device)
    lengths = torch.tensor([len(wav) for wav in wavs], device=device)
    texts = torch.tensor([[3, 4, 5], [-1, -1, -1], [5, -1, -1]], device=device)
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=3e-3)
    losses = []
    for _ in range(8):
        with torch.autocast(device.type, torch.bfloat16):
            loss, stats, _ = model(padded, lengths, texts.clone(), torch.tensor([3, 0, 1], device=device))
        loss.backward()
        assert all(
            p.grad is not None and p.grad.isfinite().all() for p in optimizer.param_groups[0]["params"]
        )
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        losses.append(float(loss.detach()))
    assert {"loss_ctc", "loss_interctc_layer2", "loss_guide", "loss_consistency"} <= stats.keys()
    assert losses[-1] < 0.7 * losses[0]


def test_espnet_trains_from_stored_features_as_from_waveforms(
    training_arguments, dump, device, tmp_path, capsys
):
    """With stage 2's features of this device; on a GPU in mixed precision, as the recipes do."""
    ngpu = int(device.type == "cuda")
    changes = {"use_amp": True} if ngpu else {}
    common = ["--dump_dir", str(dump), "--sets", "train dev", "--cache_dtype", "float32"]
    cache_features.main(["plan", *common, "--", *training_arguments(tmp_path / "conf", **changes)])
    folder = capsys.readouterr().out.strip()
    cache_features.main(["run", "--folder", folder, "--sets", "train dev", "--ngpu", str(ngpu)])
    cache_features.main(["merge", "--folder", folder, "--sets", "train dev"])

    fresh, stored = (training_arguments(tmp_path / name, **changes) for name in ("fresh", "stored"))
    sets = iter(("train", "dev"))
    stored = [
        f"{folder}/{next(sets)}/feats.scp,speech,feature_cache" if word.endswith(",speech,sound") else word
        for word in stored
    ]
    states = []
    for arguments, exp in ((fresh, tmp_path / "fresh"), (stored, tmp_path / "stored")):
        asr_train.main([*arguments, "--ngpu", str(ngpu)])
        config = yaml.safe_load((exp / "config.yaml").read_text())
        assert config["ngpu"] == ngpu and config["use_amp"] == bool(ngpu)
        states.append(torch.load(exp / "2epoch.pth", map_location="cpu"))
    assert states[0].keys() == states[1].keys()
    tolerance = {"atol": 1e-3, "rtol": 1e-3} if ngpu else {"atol": 1e-6, "rtol": 1e-5}
    for name, value in states[0].items():
        torch.testing.assert_close(states[1][name], value, **tolerance)


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device on this machine")
def test_the_device_is_not_asked_for_each_utterance(upstream_path, family_name):
    encoder = WsmS3prlEncoder(1, upstream=upstream_path(family_name, True), window=3).cuda().train()

    def count_waits(batch: int) -> int:
        speech, lengths = torch.randn(batch, 16000).cuda(), torch.full((batch,), 16000).cuda()
        encoder(speech, lengths)  # what the first call of a kernel waits for does not count
        torch.cuda.set_sync_debug_mode("warn")
        try:
            with warnings.catch_warnings(record=True, action="always") as caught:
                encoder(speech, lengths)
        finally:
            torch.cuda.set_sync_debug_mode("default")
        return len(caught)

    assert count_waits(8) == count_waits(2)
