"""Whisper's encoder in plain PyTorch, with the module names of transformers."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from espnet_wsm.upstream.weights.whisper import ACTIVATIONS, WhisperSizes

LARGEST_HALF = torch.finfo(torch.float16).max - 1000


class WhisperAttention(nn.Module):
    """Self-attention over all frames; keys have no bias.

    Args:
        dim: channels D.
        num_heads: heads.
        dropout: share of the attention weights that training drops.
    """

    def __init__(self, dim: int, num_heads: int, dropout: float):
        super().__init__()
        self.num_heads, self.dropout = num_heads, dropout
        self.head_dim = dim // num_heads
        self.scaling = self.head_dim**-0.5
        self.k_proj = nn.Linear(dim, dim, bias=False)
        self.v_proj = nn.Linear(dim, dim)
        self.q_proj = nn.Linear(dim, dim)
        self.out_proj = nn.Linear(dim, dim)

    def forward(self, hidden_states: Tensor, attention_mask: Tensor | None = None) -> tuple[Tensor, None]:
        """(B, T, D) to (B, T, D); ``attention_mask`` (B, 1, 1, T), True = valid, or None."""
        queries = self._split(self.q_proj(hidden_states) * self.scaling)
        keys, values = self._split(self.k_proj(hidden_states)), self._split(self.v_proj(hidden_states))
        dropout = self.dropout if self.training else 0.0
        mixed = F.scaled_dot_product_attention(queries, keys, values, attention_mask, dropout, scale=1.0)
        return self.out_proj(mixed.transpose(1, 2).flatten(2)), None

    def _split(self, x: Tensor) -> Tensor:
        """(B, T, D) to (B, heads, T, D / heads)."""
        return x.unflatten(-1, (self.num_heads, self.head_dim)).transpose(1, 2)


class WhisperLayer(nn.Module):
    """A pre-norm layer. transformers' own class gives the same numbers, and takes seconds to import.

    Args:
        sizes: of the encoder.
    """

    def __init__(self, sizes: WhisperSizes):
        super().__init__()
        dim = sizes.d_model
        self.self_attn = WhisperAttention(dim, sizes.encoder_attention_heads, sizes.attention_dropout)
        self.self_attn_layer_norm = nn.LayerNorm(dim)
        self.activation_fn = ACTIVATIONS[sizes.activation_function]
        self.dropout, self.activation_dropout = sizes.dropout, sizes.activation_dropout
        self.fc1 = nn.Linear(dim, sizes.encoder_ffn_dim)
        self.fc2 = nn.Linear(sizes.encoder_ffn_dim, dim)
        self.final_layer_norm = nn.LayerNorm(dim)

    def forward(self, hidden_states: Tensor, attention_mask: Tensor | None = None) -> Tensor:
        """(B, T, D) to (B, T, D); the mask is that of the attention."""
        mixed, _ = self.self_attn(
            hidden_states=self.self_attn_layer_norm(hidden_states), attention_mask=attention_mask
        )
        x = hidden_states + F.dropout(mixed, self.dropout, self.training)
        inner = self.activation_fn(self.fc1(self.final_layer_norm(x)))
        inner = self.fc2(F.dropout(inner, self.activation_dropout, self.training))
        x = x + F.dropout(inner, self.dropout, self.training)
        return x.clamp(-LARGEST_HALF, LARGEST_HALF) if x.dtype == torch.float16 else x


class WhisperEncoder(nn.Module):
    """The parts of the encoder; ``WhisperFamily`` runs them on utterances of any length.

    Args:
        sizes: of the encoder.
    """

    def __init__(self, sizes: WhisperSizes):
        super().__init__()
        self.sizes = sizes
        self.conv1 = nn.Conv1d(sizes.num_mel_bins, sizes.d_model, kernel_size=3, padding=1)
        self.conv2 = nn.Conv1d(sizes.d_model, sizes.d_model, kernel_size=3, stride=2, padding=1)
        # On the meta device nn.Embedding(...) would draw weights, for which torch imports its compiler.
        self.embed_positions = nn.Embedding.from_pretrained(
            torch.empty(sizes.max_source_positions, sizes.d_model)
        )
        self.layers = nn.ModuleList(WhisperLayer(sizes) for _ in range(sizes.encoder_layers))
        self.layer_norm = nn.LayerNorm(sizes.d_model)


def build_encoder(sizes: WhisperSizes) -> WhisperEncoder:
    """An encoder of these sizes, without memory for its weights."""
    with torch.device("meta"):
        return WhisperEncoder(sizes)
