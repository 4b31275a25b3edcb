"""Attention: every position asks (query), every earlier position offers (key) and gives (value).

Vaswani et al. 2017, equation 1:  softmax(Q Kᵀ / sqrt(d)) V,  with the future masked out.

Shapes: B batch, T positions (S of them on the key side), D d_model, H heads, G key/value heads, d head dimension.
"""

import math
from contextlib import nullcontext

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bittygpt.core.activations import softmax
from bittygpt.core.linear import Linear, side_by_side
from bittygpt.core.rmsnorm import RMSNorm
from bittygpt.core.rope import RotaryEmbedding, TurnApartTwin
from bittygpt.core.twins import formulas_are_alone, use_kernel


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


def fused_causal_attention(q_BHTd: Tensor, k_BGSd: Tensor, v_BGSd: Tensor) -> Tensor:
    """The same by PyTorch's fused kernel, which never writes out the (T, S) scores (Dao et al. 2022).

    Queries stand at the last T of the S positions. Grouped heads are shared by the kernel, not copied.
    """
    num_queries, num_keys = q_BHTd.shape[-2], k_BGSd.shape[-2]
    grouped = q_BHTd.shape[1] != k_BGSd.shape[1]
    from_the_start = bool(num_queries == num_keys)  # torch.export, which has numbers of its own, wants a bool
    mask = None if from_the_start or num_queries == 1 else causal_mask(num_queries, num_keys, q_BHTd.device)
    # on a CPU, autocast would round what is float32 on purpose (`MultiHeadAttention.forward`)
    is_rounded = q_BHTd.is_cpu and torch.is_autocast_enabled("cpu")
    with torch.autocast("cpu", enabled=False) if is_rounded else nullcontext():
        return F.scaled_dot_product_attention(
            q_BHTd, k_BGSd, v_BGSd, attn_mask=mask, is_causal=from_the_start, enable_gqa=grouped
        )


def formula_causal_attention(q_BHTd: Tensor, k_BGSd: Tensor, v_BGSd: Tensor) -> Tensor:
    """The same by the formula: grouped heads copied out, the mask written down, every score held."""
    copies = q_BHTd.shape[1] // k_BGSd.shape[1]
    k_BHSd, v_BHSd = (x.repeat_interleave(copies, dim=1) for x in (k_BGSd, v_BGSd))
    mask = causal_mask(q_BHTd.shape[-2], k_BHSd.shape[-2], q_BHTd.device)
    return scaled_dot_product_attention(q_BHTd, k_BHSd, v_BHSd, mask)


class MultiHeadAttention(nn.Module):
    """Causal self-attention in H heads of D/H features each, positions by RoPE.

    With fewer key/value heads than heads (G < H), every H/G neighbouring heads share one key/value head (Ainslie et
    al. 2023): the cache shrinks by that factor. With `qk_norm`, queries and keys are RMS-normalised over d with one
    gain vector for all heads before RoPE (Henry et al. 2020; the layout of Qwen3), which bounds the scores.
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
        self.head_dim = d_model // num_heads
        self.heads = (num_heads, num_kv_heads, num_kv_heads)  # of queries, keys, values
        self.q_proj = Linear(d_model, num_heads * self.head_dim)
        self.k_proj = Linear(d_model, num_kv_heads * self.head_dim)
        self.v_proj = Linear(d_model, num_kv_heads * self.head_dim)
        self.output_proj = Linear(num_heads * self.head_dim, d_model)
        self.q_norm = RMSNorm(self.head_dim, norm_eps) if qk_norm else None
        self.k_norm = RMSNorm(self.head_dim, norm_eps) if qk_norm else None
        self.rope = rope

    def forward(self, x_BTD: Tensor) -> Tensor:
        """x (B, T, D) at positions 0..T-1 -> (B, T, D)."""
        projected = side_by_side(x_BTD, (self.q_proj, self.k_proj, self.v_proj))
        if projected.is_cpu and torch.is_autocast_enabled("cpu"):
            # there the fused kernel's backward pass takes four times as long in bfloat16
            projected = projected.float()
        if self.rope is not None and self.q_norm is None and use_kernel(projected):
            # all that follows, up to attention, in one pass
            angles = self.rope.angles(x_BTD.shape[1])
            turned = TurnApartTwin.apply(projected, angles, *self.heads[:2])
            return self.output_proj(self.attend(*(x.transpose(1, 2) for x in turned)))
        q, k, v = projected.unflatten(-1, (-1, self.head_dim)).split(self.heads, dim=2)  # (B, T, H or G, d)
        if self.q_norm is not None and self.k_norm is not None:
            q, k = self.q_norm(q), self.k_norm(k)
        q_BHTd, k_BGTd, v_BGTd = (x.transpose(1, 2) for x in (q, k, v))
        if self.rope is not None:
            q_BHTd, k_BGTd = self.rope(q_BHTd), self.rope(k_BGTd)
        return self.output_proj(self.attend(q_BHTd, k_BGTd, v_BGTd))

    def attend(self, q_BHTd: Tensor, k_BGTd: Tensor, v_BGTd: Tensor) -> Tensor:
        """Queries, keys and values, turned already -> what each position is given, head beside head (B, T, D)."""
        attend = formula_causal_attention if formulas_are_alone() else fused_causal_attention
        return attend(q_BHTd, k_BGTd, v_BGTd).transpose(1, 2).flatten(2)
