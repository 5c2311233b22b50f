"""Features have the frames of the encoder, and are what others compute."""

from pathlib import Path

import pytest
import torch
from checkpoints import CONV_LAYERS, write_whisper
from torchaudio.compliance import kaldi

from espnet_wsm.errors import UserError
from espnet_wsm.frames import RECEPTIVE_FIELD, count_encoder_frames
from espnet_wsm.pretraining.features import (
    extract_log_mel,
    extract_mfcc,
    make_layer_extractor,
    make_states_extractor,
    randomise_weights,
)

LENGTHS = [*range(RECEPTIVE_FIELD, 1400, 31), 1359, 1360, 1361, 15999, 16000, 16001, 48123]


def noise(length: int, seed: int = 0) -> torch.Tensor:
    return 0.1 * torch.randn(length, generator=torch.Generator().manual_seed(seed))


def count_convolved(length: int) -> int:
    for _, kernel, stride in CONV_LAYERS:
        length = (length - kernel) // stride + 1
    return length


def differences(values: torch.Tensor) -> torch.Tensor:
    """The regression over five frames, (T, D), one sum at a time."""
    total = len(values)
    result = torch.zeros_like(values)
    for t in range(total):
        for n in (1, 2):
            result[t] += n * (values[min(t + n, total - 1)] - values[max(t - n, 0)])
    return result / (2 * (1 + 4))


def test_there_is_a_vector_for_each_frame_of_the_encoder():
    waves = [noise(length) for length in LENGTHS]
    for wave, mfcc, mel in zip(waves, extract_mfcc(waves), extract_log_mel(waves), strict=True):
        frames = count_convolved(len(wave))
        assert mfcc.shape == (frames, 39) and mel.shape == (frames, 80), len(wave)
        assert frames == count_encoder_frames(len(wave))


def test_mfcc_are_those_of_kaldi_at_every_second_frame_with_their_differences():
    wave = noise(16000)
    (found,) = extract_mfcc([wave])
    static = kaldi.mfcc(wave[None] * 2**15, num_ceps=13, dither=0.0)  # every 10 ms
    assert len(static) == 2 * len(found)
    torch.testing.assert_close(found[:, :13], static[::2])
    first = differences(static)
    torch.testing.assert_close(found[:, 13:26], first[::2], rtol=1e-4, atol=1e-3)
    torch.testing.assert_close(found[:, 26:], differences(first)[::2], rtol=1e-4, atol=1e-3)
    assert found[:, 13:].abs().max() > 1


def test_log_mel_are_those_of_kaldi_at_every_second_frame():
    wave = noise(8000)
    (found,) = extract_log_mel([wave])
    torch.testing.assert_close(found, kaldi.fbank(wave[None] * 2**15, num_mel_bins=80, dither=0.0)[::2])


@pytest.fixture
def reference(upstream_path, pre_norm):
    """transformers' hidden states of one waveform, and the path of the upstream."""
    from transformers import AutoFeatureExtractor, AutoModel

    path = upstream_path("hf_hubert", pre_norm)
    extractor, model = AutoFeatureExtractor.from_pretrained(path), AutoModel.from_pretrained(path).eval()
    # The state behind the last layer before the final norm of pre-norm models is handed out by no name.
    kept: list[torch.Tensor] = []
    model.encoder.layers[-1].register_forward_hook(
        lambda _, __, out: kept.append(out if torch.is_tensor(out) else out[0])
    )

    @torch.no_grad()
    def run(wave: torch.Tensor) -> list[torch.Tensor]:
        inputs = extractor(wave.numpy(), sampling_rate=16000, return_tensors="pt")
        states = model(**inputs, output_hidden_states=True).hidden_states
        return [state[0] for state in (*states[:-1], kept.pop())]

    return run, path


def test_layers_are_the_hidden_states_of_transformers_also_in_a_padded_batch(reference):
    run, path = reference
    waves = [noise(16000), noise(9600, 1), noise(5000, 2)]
    chosen, extract = make_states_extractor(path)
    assert chosen == (0, 1, 2, 3)
    layer_two = make_layer_extractor(Path(path), 2)(waves)
    for wave, states, second in zip(waves, extract(waves), layer_two, strict=True):
        expected = run(wave)
        assert states.shape == (count_encoder_frames(len(wave)), 4, 32)
        for layer, state in enumerate(expected):
            torch.testing.assert_close(states[:, layer], state, rtol=1e-3, atol=1e-4)
        torch.testing.assert_close(second, expected[2], rtol=1e-3, atol=1e-4)
        assert (expected[2] - expected[1]).abs().max() > 0.1, "the layers differ"


def test_whisper_has_as_many_frames_as_others(tmp_path):
    path = write_whisper(tmp_path / "whisper")
    waves = [noise(16000), noise(9600, 1)]
    _, extract = make_states_extractor(str(path))
    layer_three = make_layer_extractor(path, 3)(waves)
    for wave, states, third in zip(waves, extract(waves), layer_three, strict=True):
        assert states.shape == (count_encoder_frames(len(wave)), 4, 32)
        torch.testing.assert_close(states[:, 3], third)


def test_only_the_layers_asked_for_come_and_others_are_refused(upstream_path):
    path = upstream_path("hf_hubert", True)
    chosen, extract = make_states_extractor(path, [3, 1])
    assert chosen == (1, 3)
    _, extract_all = make_states_extractor(path)
    assert torch.equal(extract([noise(4000)])[0], extract_all([noise(4000)])[0][:, [1, 3]])
    for layers in ([4], [-1, 2]):
        with pytest.raises(UserError, match=rf"--layers {layers[0]}.* has layers 0 to 3"):
            make_states_extractor(path, layers)
    for layer in (0, 4):
        with pytest.raises(UserError, match=f"--layer {layer}: .* has layers 1 to 3"):
            make_layer_extractor(Path(path), layer)


@pytest.mark.parametrize("family", ["hf_hubert", "hubert", "wavlm"])
def test_random_weights_follow_from_the_seed_and_keep_the_scale(upstream_path, family):
    path = upstream_path(family, False)
    wave = [noise(8000)]
    _, own = make_states_extractor(path)
    results = {}
    for seed in (0, 0, 1):
        _, extract = make_states_extractor(path, seed=seed)
        (states,) = extract(wave)
        assert states.isfinite().all() and not torch.allclose(states, own(wave)[0])
        assert 0.3 < states[:, -1].std() < 3
        results.setdefault(seed, []).append(states)
    assert torch.equal(*results[0]) and not torch.allclose(results[0][0], results[1][0])


def test_random_weights_leave_the_global_generator_alone():
    before = torch.get_rng_state()
    model = torch.nn.Sequential(torch.nn.Linear(400, 300), torch.nn.LayerNorm(300))
    torch.set_rng_state(before)
    randomise_weights(model, 0)
    assert torch.equal(torch.get_rng_state(), before)
    assert model[0].weight.std().item() == pytest.approx(1 / 20, rel=0.02)
    assert not model[0].bias.any() and (model[1].weight == 1).all() and not model[1].bias.any()
