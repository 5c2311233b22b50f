"""From several channels to one: their mean, or one of them, and what is lost by that."""

import argparse
from pathlib import Path

import numpy as np

from espnet_wsm.errors import UserError

# Channels that have nothing in common, as those of a call, leave 1/n of their mean energy in the mean of n. A
# tenth of that is left only where they cancel out, as when one is the other with its sign inverted.
LEAST_SHARE = 0.1


def parse_channel(word: str) -> int | None:
    """``mix`` -> None, ``1`` -> 1.

    Raises ArgumentTypeError for anything else.
    """
    if word == "mix":
        return None
    if not word.isdecimal() or not int(word):
        raise argparse.ArgumentTypeError(f"{word!r} is no channel: give 1, 2, ... or mix")
    return int(word)


def add_channel_argument(parser: argparse.ArgumentParser) -> None:
    """``--channel``."""
    parser.add_argument(
        "--channel", type=parse_channel, default="mix", metavar="1|2|mix",
        help="of audio with several channels: take this one, or their mean (default: mix)",
    )  # fmt: skip


def check_channel(audio: Path | str, channel: int | None, channels: int) -> None:
    """Raise UserError if audio with so many channels lacks the one that is wanted."""
    if channel is not None and channel > channels:
        has = "one channel" if channels == 1 else f"{channels} channels"
        raise UserError(f"{audio} has {has} and no channel {channel}: name one that it has")


class Mixer:
    """Takes one channel (from 1), or the mean of all, of audio that may come in blocks."""

    def __init__(self, audio: Path | str, channel: int | None = None):
        self.audio, self.channel = audio, channel
        self.energies, self.mixed = np.zeros(1), 0.0

    def mix(self, samples: np.ndarray) -> np.ndarray:
        """(N, channels) float32 -> (N,) float32; mono samples are unchanged.

        Raises UserError if there is no such channel.
        """
        check_channel(self.audio, self.channel, samples.shape[1])
        if samples.shape[1] == 1:
            return samples[:, 0]
        mono = samples.mean(axis=1) if self.channel is None else samples[:, self.channel - 1]
        self.energies = self.energies + [np.dot(part, part) for part in samples.astype(np.float64).T]
        self.mixed += float(np.dot(mono.astype(np.float64), mono))
        return mono

    def check(self) -> None:
        """Raise UserError if sound has been lost: the mean of the channels has far less than they have, or
        the chosen one is silent and another is not."""
        total, number = float(self.energies.sum()), len(self.energies)
        if self.channel is not None and total and not self.mixed:
            heard = " and ".join(str(place + 1) for place in np.flatnonzero(self.energies))
            raise UserError(
                f"channel {self.channel} of {self.audio} is silent, and there is sound in {heard}: take that"
            )
        share = self.mixed * number / total if total else 1.0
        if self.channel is None and share < LEAST_SHARE / number:
            raise UserError(
                f"the {number} channels of {self.audio} cancel out, their mean has {100 * share:.2g} % of "
                "their energy: take one of them, e.g. --channel 1"
            )


def mix_down(audio: Path | str, samples: np.ndarray, channel: int | None = None) -> np.ndarray:
    """(N, channels) -> (N,), all at once, with the errors of :class:`Mixer`."""
    mixer = Mixer(audio, channel)
    mono = mixer.mix(samples)
    mixer.check()
    return mono
