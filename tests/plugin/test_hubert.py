"""ESPnet's HuBERT encoder with fast logits: the same numbers, also in bfloat16, and it learns."""

import pytest
import torch
from checkpoints import CONV_LAYERS, fix_seed
from espnet2.asr.encoder.hubert_encoder import TorchAudioHuBERTPretrainEncoder
from espnet2.hubert.espnet_model import TorchAudioHubertPretrainModel
from torchaudio.models.wav2vec2.components import LogitGenerator

from espnet_wsm.errors import UserError
from espnet_wsm.plugin.hubert import CosineLogits, HubertPretrainEncoder

CLUSTERS = 7
SIZES = dict(
    input_size=1,
    extractor_conv_layer_config=[list(layer) for layer in CONV_LAYERS],
    encoder_embed_dim=32,
    encoder_pos_conv_kernel=16,
    encoder_pos_conv_groups=2,
    encoder_num_layers=2,
    encoder_num_heads=4,
    encoder_ff_interm_features=64,
    final_dim=16,
    num_classes=CLUSTERS,
    feature_grad_mult=None,
)


@pytest.fixture
def batch() -> dict[str, torch.Tensor]:
    """Two bursts of noise of a second each, and a cluster for each of their 49 frames."""
    generator = torch.Generator().manual_seed(1)
    return {
        "speech": 0.1 * torch.randn(2, 16000, generator=generator),
        "speech_lengths": torch.tensor([16000, 16000]),
        "text": torch.randint(CLUSTERS, (2, 49), generator=generator),
        "text_lengths": torch.tensor([49, 49]),
    }


@fix_seed()
def make_model(encoder_class=HubertPretrainEncoder, **changes) -> TorchAudioHubertPretrainModel:
    return TorchAudioHubertPretrainModel(
        vocab_size=CLUSTERS,
        token_list=[str(i) for i in range(CLUSTERS)],
        frontend=None,
        specaug=None,
        normalize=None,
        preencoder=None,
        encoder=encoder_class(**SIZES | changes),
    )


def test_logits_and_gradients_are_those_of_torchaudio():
    torch.manual_seed(0)
    slow = LogitGenerator(32, CLUSTERS, 16, skip_masked=False, skip_nomask=False)
    x = torch.randn(2, 9, 32)
    label = torch.randint(CLUSTERS, (2, 9))
    masked = torch.rand(2, 9) < 0.5
    found = []
    for logits in (slow, CosineLogits(slow)):
        inputs = x.clone().requires_grad_()
        slow.zero_grad()
        masked_scores, other_scores = logits(inputs, label, masked, ~masked)
        target = torch.zeros(len(masked_scores), dtype=torch.long)
        (torch.nn.functional.cross_entropy(masked_scores, target) + other_scores[:, 0].sum()).backward()
        gradients = [inputs.grad, *(parameter.grad.clone() for parameter in slow.parameters())]
        found.append([masked_scores.detach(), other_scores.detach(), *gradients])
    for one, two in zip(*found, strict=True):
        torch.testing.assert_close(one, two, rtol=1e-4, atol=1e-5)
    scores = found[1][0]
    assert scores.shape == (int(masked.sum()), 1 + CLUSTERS) and scores[:, 0].isfinite().all()
    assert (scores == float("-inf")).sum(1).eq(1).all(), "the true one is not among the others"


def test_the_parameters_keep_their_names_so_that_checkpoints_are_espnets():
    ours, theirs = make_model(), make_model(TorchAudioHuBERTPretrainEncoder)
    assert ours.state_dict().keys() == theirs.state_dict().keys()
    theirs.load_state_dict(ours.state_dict())


def test_the_loss_is_espnets(batch):
    losses = []
    for encoder_class in (HubertPretrainEncoder, TorchAudioHuBERTPretrainEncoder):
        model = make_model(encoder_class).eval()
        torch.manual_seed(3)  # of the mask
        losses.append(model(**batch)[0].item())
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)


def test_bfloat16_is_close_to_float32_and_keeps_float32_weights(batch):
    results = {}
    for dtype in ("float32", "bfloat16"):
        model = make_model(dtype=dtype).eval()
        torch.manual_seed(3)
        loss, stats, _ = model(**batch)
        loss.backward()
        gradient = (
            model.encoder.hubert_pretrain_model.wav2vec2.encoder.feature_projection.projection.weight.grad
        )
        assert {parameter.dtype for parameter in model.parameters()} == {torch.float32} == {gradient.dtype}
        results[dtype] = loss.item() / stats["count_m"].item(), gradient.flatten()
    (full, full_gradient), (half, half_gradient) = results.values()
    assert full != half and half == pytest.approx(full, rel=0.01), "8 bits of mantissa"
    assert torch.cosine_similarity(full_gradient, half_gradient, dim=0) > 0.99


def test_training_on_one_batch_lowers_its_loss(batch):
    model = make_model(dtype="bfloat16", encoder_layer_drop=0.0).train()
    optimiser = torch.optim.AdamW(model.parameters(), lr=2e-3)
    losses = []
    for _ in range(12):
        torch.manual_seed(3)  # the same mask and dropout in each step
        loss, _, _ = model(**batch)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[1] < losses[0] and losses[-1] < 0.95 * losses[0]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"dtype": "float16"}, "dtype has to be float32, bfloat16 or auto, got 'float16'"),
        (
            {"dtype": "bfloat16", "encoder_pos_conv_groups": 4},
            "dtype bfloat16 needs groups of a multiple of 16 channels, got 32 channels in "
            "encoder_pos_conv_groups 4",
        ),
    ],
)
def test_what_cannot_be_computed_is_refused(changes, message):
    with pytest.raises(UserError, match=message):
        make_model(**changes)
    make_model(**changes | {"dtype": "float32"})
