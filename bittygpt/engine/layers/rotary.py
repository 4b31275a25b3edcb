"""RoPE as a product of complex numbers: a pair of features times cos + i sin, and for the gradient times cos - i sin.

Shapes: B batch, T positions, H heads, G key/value heads, d head dimension.
"""

from typing import Any

import torch
from torch import Tensor

from bittygpt.core.rope import RotaryEmbedding, apply_rotary
from bittygpt.engine.dispatch import is_intact, is_plain
from bittygpt.engine.function import FusedFunction
from bittygpt.engine.kernels import cpu

ROTARY: tuple[str, ...] = (
    "rope.py:RotaryEmbedding",
    "rope.py:RotaryEmbedding.forward",
    "rope.py:RotaryEmbedding.angles",
)
ROTARY += ("rope.py:apply_rotary", "activations.py:upcast")


def can_rotate(rope: object, length: int, head_dim: int) -> bool:
    """Whether a part is RoPE with a table for so many positions of such heads; else the formula knows what to say."""
    return (
        isinstance(rope, RotaryEmbedding)
        and is_intact(rope, RotaryEmbedding)
        and (rope.head_dim == head_dim and rope.max_positions >= length)
        and (
            is_plain(rope.cos_sin) and not rope.cos_sin.requires_grad
        )  # a learned one has its gradient by the formula
        and (rope.cos_sin.dtype == torch.float32 and rope.cos_sin.is_contiguous())
        and rope.cos_sin.shape == (rope.max_positions, head_dim // 2, 2)
    )


def rotate_heads(x_BTHd: Tensor, cos_sin: Tensor, back: bool = False, out: Tensor | None = None) -> Tensor:
    """All heads of x, dense float32 in main memory, rotated by the angles (T, d/2, 2) of positions 0..T-1, or back.

    With `out`, which may be x, the result is written there.
    """
    out = torch.empty_like(x_BTHd) if out is None else out
    if cpu.rotate(x_BTHd, cos_sin, back, out) is not None:
        return out
    factors_T1c = torch.view_as_complex(cos_sin)[:, None]
    pairs, result = (torch.view_as_complex(x.unflatten(-1, (-1, 2))) for x in (x_BTHd, out))
    torch.mul(pairs, factors_T1c.conj() if back else factors_T1c, out=result)
    return out


def rotate_as_complex(x_BHTd: Tensor, cos_sin: Tensor) -> Tensor:
    """`apply_rotary` in one pass, left to autograd."""
    x32 = x_BHTd.float()
    if x32.stride(-1) != 1 or any(step % 2 for step in (x32.storage_offset(), *x32.stride()[:-1])):
        x32 = x32.clone(memory_format=torch.contiguous_format)  # pairs lay as no complex numbers may
    pairs = torch.view_as_complex(x32.unflatten(-1, (-1, 2)))
    return torch.view_as_real(pairs * torch.view_as_complex(cos_sin)).flatten(-2).to(x_BHTd.dtype)


def rotate_by_swapping(x_BHTd: Tensor, cos_sin: Tensor) -> Tensor:
    """`apply_rotary` for a compiler, which knows no complex numbers: x · (cos, cos) + (x1, x0) · (-sin, sin).

    No pair is taken apart and put together again, so it fuses the whole of it, and its gradient, with what is around.
    """
    cos, sin = cos_sin.unbind(-1)
    cos, sin = cos.repeat_interleave(2, dim=-1), torch.stack((-sin, sin), dim=-1).flatten(-2)
    x32 = x_BHTd.float()
    swapped = x32.unflatten(-1, (-1, 2)).flip(-1).flatten(-2)
    return (x32 * cos + swapped * sin).to(x_BHTd.dtype)


class SplitAndRotate(FusedFunction):
    """Queries, keys and values, which a product has put side by side, apart and rotated: on a GPU, one pass each way.

    (B, T, (H + 2G) d) -> (B, T, H, d), (B, T, G, d), (B, T, G, d). The values are not rotated, and not copied.
    """

    @staticmethod
    def formula(projected: Tensor, cos_sin: Tensor, num_heads: int, num_kv_heads: int) -> tuple[Tensor, ...]:
        heads = (num_heads, num_kv_heads, num_kv_heads)
        q, k, v = projected.unflatten(-1, (sum(heads), -1)).split(heads, dim=2)
        q, k = (apply_rotary(x.transpose(1, 2), cos_sin).transpose(1, 2) for x in (q, k))
        return q, k, v

    @staticmethod
    def forward(
        ctx: Any, projected: Tensor, cos_sin: Tensor, num_heads: int, num_kv_heads: int
    ) -> tuple[Tensor, Tensor, Tensor]:
        from bittygpt.engine.kernels import rope as kernels

        compute = kernels.rotate_as_operation if torch.compiler.is_compiling() else kernels.rotate
        q, k = compute(projected, cos_sin, num_heads, num_kv_heads)
        FusedFunction.save(ctx, (projected, cos_sin, num_heads, num_kv_heads))
        v = projected[..., -num_kv_heads * q.shape[-1] :].unflatten(-1, (num_kv_heads, -1))
        return q, k, v

    @staticmethod
    def gradients(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None, None]:
        from bittygpt.engine.kernels import rope as kernels

        compute = kernels.rotate_back_as_operation if torch.compiler.is_compiling() else kernels.rotate_back
        _, cos_sin = ctx.saved_tensors
        dq, dk, dv = grads
        return compute(dq, dk, dv, cos_sin), None, None, None
