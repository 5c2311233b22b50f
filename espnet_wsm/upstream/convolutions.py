"""The convolutions that turn samples into frames, with channels last in memory."""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class ChannelsLastConvolutions(nn.Module):
    """In front of the layers an upstream's tensors are a hundred times as long as behind them.

    Their time goes into memory. A layer norm over the channels of (B, C, T) copies the largest tensors of the
    whole upstream back and forth, and the first group norm reads its input, the largest of all, three times.
    Here channels are the last axis in memory, so that a layer norm needs no copy, and half precision is
    computed as products of matrices. And the first group norm costs nothing: it follows a convolution
    y = W f of one channel, over frames f of a few samples, so mean and variance of y over an utterance are

        mean(y) = W mean(f)        var(y) = W cov(f) W^T, its diagonal

    and both become part of W and its bias, for each utterance by itself, without its padding. On a GPU the
    modules run as they are, as this has been measured on CPUs alone.

    Args:
        conv_layers: the upstream's blocks, of :func:`fits`. They stay where they were in ``state_dict()``.
    """

    def __init__(self, conv_layers: nn.ModuleList):
        super().__init__()
        self.conv_layers = conv_layers
        self.frames: tuple[int, ...] | None = None  # of each utterance after the first, as in PaddedGroupNorm

    def forward(self, x: Tensor) -> Tensor:
        """(B, N) samples to (B, C, T)."""
        if x.device.type != "cpu":
            x = x[:, None]
            for block in self.conv_layers:
                x = block(x)
            return x
        for place, block in enumerate(self.conv_layers):
            convolution, norm, activation = _take_apart(block)
            if place:
                x = _convolve(x, convolution)
            elif isinstance(norm, nn.GroupNorm):
                x = self._convolve_and_norm(x, convolution, norm)
            else:
                frames = x.unfold(1, convolution.kernel_size[0], convolution.stride[0])
                x = F.linear(frames, convolution.weight[:, 0], convolution.bias)
            if isinstance(norm, nn.LayerNorm):
                x = F.layer_norm(x, norm.normalized_shape, norm.weight, norm.bias, norm.eps)
            x = activation(x)
        return x.transpose(1, 2)

    def _convolve_and_norm(self, x: Tensor, convolution: nn.Conv1d, norm: nn.GroupNorm) -> Tensor:
        """(B, N) to (B, T, C), each channel normalised over an utterance's own frames."""
        frames = x.unfold(1, convolution.kernel_size[0], convolution.stride[0])  # (B, T, K)
        counts = self.frames or [frames.size(1)] * len(frames)
        weight = convolution.weight[:, 0].double()  # (C, K)
        normed = []
        for own, count in zip(frames, counts, strict=True):
            valid = own[:count].double()
            mean = valid.mean(dim=0)
            centred = valid - mean
            variance = ((weight @ (centred.T @ centred / count)) * weight).sum(dim=1)  # (C,)
            scale = (variance + norm.eps).rsqrt() * norm.weight
            folded, bias = weight * scale[:, None], norm.bias - (weight @ mean) * scale
            normed.append(F.linear(own, folded.to(x.dtype), bias.to(x.dtype)))
        return torch.stack(normed) if len(normed) > 1 else normed[0][None]


def fits(extractor: nn.Module) -> bool:
    """Whether :class:`ChannelsLastConvolutions` computes what a feature extractor does.

    It has to be a list ``conv_layers`` of blocks of a convolution without padding, a norm or none, and an
    activation; a group norm, in the first one alone, has a group for each channel.
    """
    blocks = getattr(extractor, "conv_layers", None)
    if not blocks:
        return False
    for place, block in enumerate(blocks):
        parts = _take_apart(block)
        if parts is None:
            return False
        convolution, norm, _ = parts
        if convolution.padding != (0,) or convolution.groups != 1 or convolution.dilation != (1,):
            return False
        if isinstance(norm, nn.GroupNorm) and (place or norm.num_groups != norm.num_channels):
            return False
    return blocks[0] is not None and _take_apart(blocks[0])[0].in_channels == 1


def _take_apart(block: nn.Module) -> tuple[nn.Conv1d, nn.Module | None, Callable[[Tensor], Tensor]] | None:
    """Convolution, norm and activation of a block; None where it has others."""
    convolutions = [module for module in block.modules() if isinstance(module, nn.Conv1d)]
    norms = [module for module in block.modules() if isinstance(module, (nn.LayerNorm, nn.GroupNorm))]
    activation = block[-1] if isinstance(block, nn.Sequential) else getattr(block, "activation", None)
    if len(convolutions) != 1 or len(norms) > 1 or not callable(activation):
        return None
    return convolutions[0], norms[0] if norms else None, activation


def _convolve(x: Tensor, convolution: nn.Conv1d) -> Tensor:
    """(B, T, C) to (B, T', C')."""
    weight = convolution.weight[:, :, None].contiguous(memory_format=torch.channels_last)
    stride = (1, convolution.stride[0])
    return F.conv2d(x.transpose(1, 2)[:, :, None], weight, convolution.bias, stride)[:, :, 0].transpose(1, 2)
