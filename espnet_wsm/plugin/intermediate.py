"""Intermediate CTC: what is done behind layers inside of the encoder."""

from collections.abc import Mapping
from functools import partial

from torch import Tensor, nn

from espnet_wsm.upstream.suffix import Behind


def listen(
    numbers: Mapping[int, int],
    norm: nn.Module | None,
    heard: list[tuple[int, Tensor]] | None,
    conditioning: nn.Module | None,
    ctc: nn.Module | None,
) -> Behind:
    """Functions that note what layers give, and let the next one know what CTC makes of it.

    Self-conditioned CTC (arXiv 2104.02724): x + conditioning(softmax(ctc(norm(x)))), frame by frame.

    Args:
        numbers: those of the layers, by their indices among the layers above the cut.
        norm: the one after the last layer, through which the output of these goes to CTC too; None for none.
        heard: takes number and normed output (B, T, D), float32, of each layer; None: nothing is noted.
        conditioning: from V channels to D; None: the layers are left as they are.
        ctc: ESPnet's; needed with ``conditioning``.

    Returns:
        By the index of a layer, a function from its output (B, T, D) to the next one's input; empty where
        there is nothing to do.
    """
    if conditioning is None and heard is None:
        return {}
    assert conditioning is None or ctc is not None, "the layers are conditioned on what CTC predicts"

    def hear(number: int, x: Tensor) -> Tensor:
        normed = x if norm is None else norm(x)
        if heard is not None:
            heard.append((number, normed.float()))
        return x if conditioning is None else x + conditioning(ctc.softmax(normed))

    return {place: partial(hear, number) for place, number in numbers.items()}
