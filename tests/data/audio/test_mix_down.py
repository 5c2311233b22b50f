"""One channel of several, or their mean where it does not lose the sound."""

import argparse

import kaldiio
import numpy as np
import pytest
import soundfile

from espnet_wsm.data.audio.channels import mix_down, parse_channel
from espnet_wsm.data.audio.recordings import quantise, stream_converted
from espnet_wsm.errors import UserError


def noise(channels: int, seconds: float = 1.0) -> np.ndarray:
    generator = np.random.default_rng(channels)
    return (0.1 * generator.standard_normal((int(seconds * 16000), channels))).astype(np.float32)


def test_one_channel_or_the_mean_is_taken():
    samples = noise(3)
    np.testing.assert_array_equal(mix_down("x", samples, 2), samples[:, 1])
    np.testing.assert_array_equal(mix_down("x", samples), samples.mean(axis=1))
    np.testing.assert_array_equal(mix_down("x", samples[:, :1], 1), samples[:, 0])
    assert parse_channel("mix") is None and parse_channel("2") == 2
    for word in ("0", "-1", "left", "", "1.0"):
        with pytest.raises(argparse.ArgumentTypeError, match=r"is no channel: give 1, 2, \.\.\. or mix"):
            parse_channel(word)


def test_a_channel_that_is_not_there():
    with pytest.raises(UserError, match="x has 2 channels and no channel 3: name one that it has"):
        mix_down("x", noise(2), 3)
    with pytest.raises(UserError, match="x has one channel and no channel 2"):
        mix_down("x", noise(1), 2)


left = noise(1)[:, 0]
other = noise(2)[:, 1]
HARMLESS = {
    "silence": [0 * left, 0 * left],
    "one_is_silent": [left, 0 * left],
    "independent": [left, other],
    "equal": [left, left],
    "one_is_much_louder": [left, 0.001 * other],
    "six_microphones": list(noise(6).T),
}
CANCELLING = {
    "inverted": [left, -left],
    "nearly_inverted": [left, -0.9 * left],
    "inverted_with_noise": [left, -left + 0.1 * other],
    "two_pairs": [left, -left, other, -other],
}


@pytest.mark.parametrize("case", [*HARMLESS, *CANCELLING])
def test_channels_that_cancel_out_are_refused(tmp_path, case):
    samples = np.stack((HARMLESS | CANCELLING)[case], axis=1)
    path = tmp_path / "a.wav"
    soundfile.write(path, samples, 16000, subtype="FLOAT")
    if case in HARMLESS:
        np.testing.assert_array_equal(
            np.concatenate([*stream_converted(path, block_seconds=0.3)]), mix_down("x", samples)
        )
        return
    with pytest.raises(UserError, match=rf"the {samples.shape[1]} channels of .* cancel out, .* --channel 1"):
        list(stream_converted(path, block_seconds=0.3))
    np.testing.assert_array_equal(np.concatenate([*stream_converted(path, channel=2)]), samples[:, 1])


def test_the_silent_channel_of_several_is_refused(tmp_path):
    with pytest.raises(UserError, match="channel 2 of x is silent, and there is sound in 1 and 3: take that"):
        mix_down("x", np.stack([left, 0 * left, other], axis=1), 2)
    assert not mix_down("x", np.zeros((100, 2), np.float32), 2).any()


def test_channels_of_archives(tmp_path):
    samples = quantise(noise(2))[0]
    kaldiio.save_ark(str(tmp_path / "a.ark"), {"a": (16000, samples)}, scp=str(tmp_path / "scp"))
    entry = (tmp_path / "scp").read_text().split()[1]
    np.testing.assert_array_equal(
        np.concatenate([*stream_converted(entry, channel=2)]) * 2**15, samples[:, 1]
    )
