"""Attention: every position asks (query), every earlier position offers (key) and gives (value).

Vaswani et al. 2017, equation 1:  softmax(Q Kᵀ / sqrt(d)) V,  with the future masked out.

Shapes: B batch, T positions (S of them on the key side), D d_model, H heads, G key/value heads, d head dimension.
"""

import math

import torch
from torch import Tensor, nn

from bittygpt.core.activations import softmax
from bittygpt.core.linear import Linear
from bittygpt.core.rmsnorm import RMSNorm
from bittygpt.core.rope import RotaryEmbedding


def causal_mask(num_queries: int, num_keys: int, device: torch.device | None = None) -> Tensor:
    """(T, S) bool, True where a query may look: the last query sees every key, the one before all but the last, …"""
    return torch.ones(num_queries, num_keys, dtype=torch.bool, device=device).tril(num_keys - num_queries)


def scaled_dot_product_attention(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None) -> Tensor:
    """The formula. q (..., T, d), k and v (..., S, d), mask (T, S) bool, True = may attend -> (..., T, d).

    The division by sqrt(d) keeps the scores' variance at 1 for any head dimension; without it softmax saturates.
    Every row of the mask must have a True. Oracle: `torch.nn.functional.scaled_dot_product_attention`.
    """
    scores = q @ k.transpose(-2, -1) / math.sqrt(q.shape[-1])
    if mask is not None:
        scores = scores.masked_fill(~mask, -math.inf)
    return softmax(scores) @ v


class MultiHeadAttention(nn.Module):
    """Causal self-attention in H heads of D/H features each, positions by RoPE.

    With fewer key/value heads than heads (G < H), every H/G neighbouring heads share one key/value head (Ainslie et
    al. 2023): the cache shrinks by that factor. With `qk_norm`, queries and keys are RMS-normalised over d with one
    gain vector for all heads before RoPE (Henry et al. 2020; the layout of Qwen3), which bounds the scores.

    Raises:
        ValueError: heads that do not divide the width, or key/value heads that do not divide the heads.
    """

    def __init__(
        self,
        d_model: int,
        num_heads: int,
        num_kv_heads: int | None = None,
        rope: RotaryEmbedding | None = None,
        qk_norm: bool = False,
        norm_eps: float = 1e-5,
    ) -> None:
        super().__init__()
        num_kv_heads = num_heads if num_kv_heads is None else num_kv_heads
        if d_model % num_heads or num_heads % num_kv_heads:
            raise ValueError(
                f"d_model {d_model} must be a multiple of num_heads {num_heads}, "
                f"and num_heads of num_kv_heads {num_kv_heads}"
            )
        self.num_heads, self.num_kv_heads, self.head_dim = num_heads, num_kv_heads, d_model // num_heads
        self.q_proj = Linear(d_model, num_heads * self.head_dim)
        self.k_proj = Linear(d_model, num_kv_heads * self.head_dim)
        self.v_proj = Linear(d_model, num_kv_heads * self.head_dim)
        self.output_proj = Linear(num_heads * self.head_dim, d_model)
        self.q_norm = RMSNorm(self.head_dim, norm_eps) if qk_norm else None
        self.k_norm = RMSNorm(self.head_dim, norm_eps) if qk_norm else None
        self.rope = rope

    def forward(self, x_BTD: Tensor) -> Tensor:
        """x (B, T, D) at positions 0..T-1 -> (B, T, D)."""
        projections = (self.q_proj, self.k_proj, self.v_proj)
        q, k, v = (
            project(x_BTD).unflatten(-1, (-1, self.head_dim)) for project in projections
        )  # (B, T, H or G, d)
        if self.q_norm is not None and self.k_norm is not None:
            q, k = self.q_norm(q), self.k_norm(k)
        q, k, v = (x.transpose(1, 2) for x in (q, k, v))
        if self.rope is not None:
            q, k = self.rope(q), self.rope(k)
        return self.output_proj(self.attend(q, k, v).transpose(1, 2).flatten(2))

    def attend(self, q_BHTd: Tensor, k_BGTd: Tensor, v_BGTd: Tensor) -> Tensor:
        """What each query finds (B, H, T, d); each key/value head serves H/G neighbouring heads."""
        copies, length = self.num_heads // self.num_kv_heads, q_BHTd.shape[2]
        k_BHTd, v_BHTd = (x.repeat_interleave(copies, dim=1) for x in (k_BGTd, v_BGTd))
        return scaled_dot_product_attention(
            q_BHTd, k_BHTd, v_BHTd, causal_mask(length, length, q_BHTd.device)
        )
