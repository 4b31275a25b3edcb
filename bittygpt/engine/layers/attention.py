"""Attention by PyTorch's fused kernel; queries, keys and values by one product; RoPE in one pass on a GPU.

Shapes: B batch, T positions (S of them on the key side), D d_model, H heads, G key/value heads, d head dimension.
"""

from collections.abc import Mapping
from contextlib import nullcontext
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from bittygpt.core.attention import MultiHeadAttention, causal_mask, scaled_dot_product_attention
from bittygpt.engine.dispatch import are_plain, runs_eagerly
from bittygpt.engine.formulas import Proof
from bittygpt.engine.function import FusedFunction
from bittygpt.engine.kernels import work_on
from bittygpt.engine.layers.products import LINEAR, matrices, side_by_side, suit
from bittygpt.engine.layers.rotary import (
    ROTARY,
    SplitAndRotate,
    can_rotate,
    rotate_as_complex,
    rotate_by_swapping,
)

ATTEND: tuple[str, ...] = (
    "attention.py:MultiHeadAttention.attend",
    "attention.py:scaled_dot_product_attention",
)
ATTEND += ("attention.py:causal_mask", "activations.py:softmax", "activations.py:minus_largest")
ATTEND += ("activations.py:upcast",)
LAYER = ("attention.py:MultiHeadAttention", "attention.py:MultiHeadAttention.forward")
SCORES, PROJECTIONS, ROTATION = Proof(*ATTEND), Proof(*LAYER, *LINEAR), Proof(*ROTARY)


def causal_attention(q_BHTd: Tensor, k_BGSd: Tensor, v_BGSd: Tensor) -> Tensor:
    """Causal attention by a kernel that never writes out the (T, S) scores (Dao et al. 2022).

    Queries stand at the last T of the S positions. Grouped heads are shared by the kernel, not copied. Its backward
    pass cannot be differentiated again.
    """
    num_queries, num_keys = q_BHTd.shape[-2], k_BGSd.shape[-2]
    grouped = q_BHTd.shape[1] != k_BGSd.shape[1]
    mask, from_the_start = None, False
    if num_queries == num_keys:  # asked so, as a compiler has numbers of its own, which give no bool
        from_the_start = True
    elif num_queries > 1:
        mask = causal_mask(num_queries, num_keys, q_BHTd.device)
    # on a CPU, autocast would round what is float32 on purpose
    is_rounded = q_BHTd.is_cpu and torch.is_autocast_enabled("cpu")
    with torch.autocast("cpu", enabled=False) if is_rounded else nullcontext():
        return F.scaled_dot_product_attention(
            q_BHTd, k_BGSd, v_BGSd, attn_mask=mask, is_causal=from_the_start, enable_gqa=grouped
        )


def attention_formula(q_BHTd: Tensor, k_BGSd: Tensor, v_BGSd: Tensor) -> Tensor:
    """The same by the formula."""
    copies = q_BHTd.shape[1] // k_BGSd.shape[1]
    k_BHSd, v_BHSd = (x.repeat_interleave(copies, dim=1) for x in (k_BGSd, v_BGSd))
    mask = causal_mask(q_BHTd.shape[-2], k_BGSd.shape[-2], q_BHTd.device)
    return scaled_dot_product_attention(q_BHTd, k_BHSd, v_BHSd, mask)


def fused_causal_attention(q_BHTd: Tensor, k_BGSd: Tensor, v_BGSd: Tensor) -> Tensor:
    """The same by the kernel, and where a gradient of its gradient is wanted, by the formula."""
    attended = causal_attention(q_BHTd, k_BGSd, v_BGSd)
    if attended.requires_grad and runs_eagerly():
        attended = OrByTheFormula.apply(q_BHTd, k_BGSd, v_BGSd, attended)
    return attended


class OrByTheFormula(FusedFunction):
    """What the kernel has made, handed through; the gradient takes the kernel's way back.

    That way cannot be differentiated again. Where it is to be, the gradient goes back through the formula instead.
    """

    @staticmethod
    def formula(q_BHTd: Tensor, k_BGSd: Tensor, v_BGSd: Tensor, _: None) -> Tensor:
        return attention_formula(q_BHTd, k_BGSd, v_BGSd)

    @staticmethod
    def forward(ctx: Any, q_BHTd: Tensor, k_BGSd: Tensor, v_BGSd: Tensor, attended_BHTd: Tensor) -> Tensor:
        FusedFunction.save(ctx, (q_BHTd, k_BGSd, v_BGSd, None))
        return attended_BHTd

    @staticmethod
    def gradients(_: Any, *grads: Tensor) -> tuple[None, None, None, Tensor]:
        return None, None, None, grads[0]


class FusedMultiHeadAttention(MultiHeadAttention):
    """The layer, of which each of the three things above steps aside for itself."""

    formula = MultiHeadAttention
    for_compiler = (False, False, False)  # scores, projections, rotation: see `prepare_for_compile`

    def forward(self, x_BTD: Tensor) -> Tensor:
        """x (B, T, D) at positions 0..T-1 -> (B, T, D)."""
        eager = runs_eagerly()
        if not (eager or (torch.compiler.is_compiling() and self.for_compiler[1])):
            return super().forward(x_BTD)
        weights = self.projections() if eager else [p.weight for p in (self.q_proj, self.k_proj, self.v_proj)]
        if weights is None or (eager and not (x_BTD.ndim == 3 and suit(x_BTD, weights))):
            return super().forward(x_BTD)
        rotation = self.can_rotate(x_BTD.shape[1]) if eager else self.for_compiler[2]
        projected = side_by_side(x_BTD, weights)
        if projected.is_cpu and torch.is_autocast_enabled("cpu") and self.scores_hold(eager):
            # there the fused kernel's backward pass takes four times as long in bfloat16
            projected = projected.float()
        heads = (self.num_heads, self.num_kv_heads, self.num_kv_heads)
        q, k, v = projected.unflatten(-1, (-1, self.head_dim)).split(heads, dim=2)  # (B, T, H or G, d)
        in_one_pass = (
            rotation and self.q_norm is None and projected.dtype != torch.float64 and work_on(projected)
        )
        if in_one_pass and self.rope is not None:
            angles = self.rope.angles(q.transpose(1, 2))
            apart = SplitAndRotate.apply(projected, angles, *heads[:2])
            q_BHTd, k_BGTd, v_BGTd = (x.transpose(1, 2) for x in apart)
        else:
            if self.q_norm is not None and self.k_norm is not None:
                q, k = self.q_norm(q), self.k_norm(k)
            q_BHTd, k_BGTd, v_BGTd = (x.transpose(1, 2) for x in (q, k, v))
            if self.rope is not None:
                q_BHTd, k_BGTd = self.rotate(q_BHTd, rotation), self.rotate(k_BGTd, rotation)
        return self.output_proj(self.attend(q_BHTd, k_BGTd, v_BGTd).transpose(1, 2).flatten(2))

    def rotate(self, x_BHTd: Tensor, fast: bool) -> Tensor:
        """RoPE at positions 0..T-1, by the formula or in one pass."""
        assert self.rope is not None
        if not fast or x_BHTd.dtype == torch.float64:
            return self.rope(x_BHTd)
        one_pass = rotate_by_swapping if torch.compiler.is_compiling() else rotate_as_complex
        return one_pass(x_BHTd, self.rope.angles(x_BHTd))

    def attend(self, q_BHTd: Tensor, k_BGTd: Tensor, v_BGTd: Tensor) -> Tensor:
        """What each query finds (B, H, T, d); each key/value head serves H/G neighbouring heads."""
        eager, copies = runs_eagerly(), self.num_heads // self.num_kv_heads
        fast = self.scores_hold(eager) and (not eager or are_plain(q_BHTd, k_BGTd, v_BGTd))
        if fast and q_BHTd.numel() and q_BHTd.shape[1] == k_BGTd.shape[1] * copies:
            return fused_causal_attention(q_BHTd, k_BGTd, v_BGTd)
        return super().attend(q_BHTd, k_BGTd, v_BGTd)

    def scores_hold(self, eager: bool) -> bool:
        """Whether scores are made as when they were proved; for a compiler alone, `prepare_for_compile` has asked."""
        return SCORES.holds() if eager else torch.compiler.is_compiling() and self.for_compiler[0]

    def projections(self) -> list[Tensor] | None:
        """Their weights, if one product of them makes what the formula's three make."""
        weights = matrices(self.q_proj, self.k_proj, self.v_proj) if PROJECTIONS.holds() else None
        return weights if weights is not None and heads_agree(vars(self), *weights) else None

    def can_rotate(self, length: int) -> bool:
        """Whether `rope` rotates as it did when it was proved, and has a table for so many positions."""
        return ROTATION.holds() and can_rotate(self.rope, length, self.head_dim)

    def prepare_for_compile(self) -> None:
        """Decide for the compiler, which looks at no hooks."""
        rotation = self.can_rotate(0)
        if rotation and self.rope is not None:  # has the table where the weights are
            self.rope.angles(self.q_proj.weight.new_empty(0, self.head_dim))
        self.for_compiler = SCORES.holds(), self.projections() is not None, rotation


def heads_agree(sizes: Mapping[str, int], wq: Tensor, wk: Tensor, wv: Tensor) -> bool:
    """Whether the projections' weights are matrices for as many heads as the layer's attributes say."""
    heads, kv_heads, head_dim = (sizes.get(name) for name in ("num_heads", "num_kv_heads", "head_dim"))
    if heads is None or kv_heads is None or head_dim is None:  # a property of an edited class, say
        return False
    rows, keys = heads * head_dim, kv_heads * head_dim
    return wq.shape[:-1] == (rows,) and wk.shape[:-1] == wv.shape[:-1] == (keys,)
