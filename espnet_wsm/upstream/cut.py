"""The cut: below it nothing trains and nothing is random, above it are the few layers that do."""

from typing import Any

import torch
from torch import Tensor, nn

from espnet_wsm.errors import UserError
from espnet_wsm.upstream.families import FamilyContract


class FrozenPrefix(nn.Module):
    """Frozen layers inside a training model still get dropout and still cost autograd memory.

    The prefix is S3PRL's own upstream, shortened to the layers below the cut, so that it computes exactly
    what the whole upstream computes there. It stays in eval mode whatever mode its parent is put in, and
    never records a graph.

    Args:
        expert: S3PRL's expert without the layers above the cut.
        family: its contract.
    """

    def __init__(self, expert: nn.Module, family: FamilyContract):
        super().__init__()
        self.expert = expert.requires_grad_(False)
        self.family = family
        self.eval()

    def train(self, mode: bool = True) -> "FrozenPrefix":
        """Stay in eval mode."""
        return super().train(False)

    @torch.no_grad()
    def forward(self, wavs: list[Tensor]) -> tuple[Tensor, Tensor | None]:
        """Hidden states below the cut.

        Args:
            wavs: 16 kHz waveforms, each (N,), at least 400 samples.

        Returns:
            (B, T, D) hidden states and the upstream's own padding mask (B, T), True = padded, or None.
        """
        calls: list[tuple[Tensor, Tensor | None]] = []

        def keep(_module: nn.Module, _args: Any, kwargs: dict[str, Any], output: Any) -> None:
            calls.append(self.family.read_encoder_call(kwargs, output))

        # For the length of one call: a hook that stayed would keep the last batch alive.
        hook = self.family.encoder(self.expert).register_forward_hook(keep, with_kwargs=True)
        try:
            self.family.run(self.expert, wavs)
        finally:
            hook.remove()
        return calls.pop()


class TrainableSuffix(nn.Module):
    """The layers above the cut, and the final norm of upstreams that have one.

    Args:
        layers: the upstream's last k layers, after surgery.
        final_norm: its norm behind the last layer; None for post-norm upstreams.
        family: its contract.
    """

    def __init__(self, layers: nn.ModuleList, final_norm: nn.Module | None, family: FamilyContract):
        super().__init__()
        self.layers = layers
        self.final_norm = final_norm
        self.family = family

    def forward(self, x: Tensor, padding_mask: Tensor | None = None) -> Tensor:
        """(B, T, D) hidden states and (B, T) padding mask, True = padded, to (B, T, D)."""
        x = self.family.run_layers(self.layers, x, padding_mask)
        return x if self.final_norm is None else self.final_norm(x)


def cut_upstream(
    expert: nn.Module, family: FamilyContract, num_layers_above: int
) -> tuple[FrozenPrefix, TrainableSuffix]:
    """Split an upstream below its last ``num_layers_above`` layers. The expert is taken apart.

    ``suffix(*prefix(wavs))`` equals the encoder output of the whole expert. (For pre-norm models of
    transformers 5, S3PRL's last hidden state is the one before the final norm; ours is behind it, as in
    ``last_hidden_state`` and in S3PRL's native upstreams.)

    Raises:
        UserError: the upstream has fewer layers.
    """
    encoder = family.encoder(expert)
    depth = len(encoder.layers)
    if not 0 <= num_layers_above <= depth:
        raise UserError(f"cannot cut {num_layers_above} layers off an upstream of {depth}")
    family.release(expert)
    suffix_layers = encoder.layers[depth - num_layers_above :]
    encoder.layers = encoder.layers[: depth - num_layers_above]
    final_norm = None
    if family.has_final_norm(expert):
        final_norm, encoder.layer_norm = encoder.layer_norm, nn.Identity()
    return FrozenPrefix(expert, family), TrainableSuffix(suffix_layers, final_norm, family)
