"""Attention whose keys and values are means over blocks of frames."""

import torch.nn.functional as F
from torch import Tensor, nn

from espnet_wsm.mixing.means import block_mean, zero_padding


class PooledAttention(nn.Module):
    """Attention compares every frame with every other; frames beside each other are much alike.

        k_b = mean of W_K x_j + b_K over the frames j of block b      (v_b likewise)
        h_t = W_O softmax_b(q_t k_b / sqrt(d)) v_b + b_O              for each head of d channels

    so keys and values are ``pool`` times fewer than frames. The input is averaged before it is projected,
    which gives the same means. A last block of fewer frames counts like the others (our choice). With
    ``pool`` = 1 this is attention.

    Args:
        query: linear layer D to D of the queries; its weights are used as they are, as those of the others.
        key: of the keys.
        value: of the values.
        out: of the output.
        heads: number of heads; D is a multiple of it.
        pool: frames of a block, 1 or more; 4 are 80 ms.
        dropout: of the attention weights in training, 0 to 1.
    """

    def __init__(
        self,
        query: nn.Linear,
        key: nn.Linear,
        value: nn.Linear,
        out: nn.Linear,
        heads: int,
        pool: int = 4,
        dropout: float = 0.0,
    ):
        super().__init__()
        if pool < 1:
            raise ValueError(f"pool has to be at least 1, got {pool}")
        self.query, self.key, self.value, self.out = query, key, value, out
        self.heads, self.pool, self.dropout = heads, pool, dropout

    def forward(self, x: Tensor, padding_mask: Tensor | None = None) -> Tensor:
        """Mix over time.

        Args:
            x: (B, T, D).
            padding_mask: (B, T) bool, True = padded; None = no padding.

        Returns:
            (B, T, D), zeros at padded frames. Valid frames depend neither on the other utterances of the
            batch nor on what the padding holds, as long as it is finite.
        """
        pooled, padded = block_mean(x, self.pool, padding_mask)  # (B, S, D), (B, S)
        query, key, value = (
            projection(states).unflatten(-1, (self.heads, -1)).transpose(1, 2)  # (B, H, T or S, D / H)
            for projection, states in ((self.query, x), (self.key, pooled), (self.value, pooled))
        )
        attended = None if padding_mask is None else ~padded[:, None, None]  # (B, 1, 1, S)
        dropout = self.dropout if self.training else 0.0
        mixed = F.scaled_dot_product_attention(query, key, value, attn_mask=attended, dropout_p=dropout)
        return zero_padding(self.out(mixed.transpose(1, 2).flatten(2)), padding_mask)

    def extra_repr(self) -> str:
        """What the child modules do not show."""
        return f"heads={self.heads}, pool={self.pool}, dropout={self.dropout}"
