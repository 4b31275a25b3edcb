"""Rotary position embedding: a vector is turned by an angle that grows with its position.

Su et al. 2021 (RoFormer), section 3.2.2. The features are taken in neighbouring pairs (x0, x1), (x2, x3), …; pair i
is turned by the angle position · theta^(-2i/d). A product of a turned query with a turned key then depends on the
distance between their positions, and on nothing else of them.

Shapes: B batch, H heads, T positions, d head dimension (even).
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from bittygpt.core.twins import call, formulas_are_alone, use_c, use_twin
from bittygpt.kernels import cpu


def turn(x_BHTd: Tensor, cos_sin: Tensor) -> Tensor:
    """The formula: each pair of x (..., T, d) turned by the angle whose cosine and sine are given (T, d/2, 2)."""
    cos, sin = cos_sin.unbind(-1)
    even, odd = x_BHTd[..., 0::2].float(), x_BHTd[..., 1::2].float()
    turned = torch.stack((even * cos - odd * sin, even * sin + odd * cos), dim=-1)
    return turned.flatten(-2).to(x_BHTd.dtype)


def turn_by_swapping(x_BHTd: Tensor, cos_sin: Tensor) -> Tensor:
    """The same for a compiler, which knows no complex numbers: x · (cos, cos) + (x1, x0) · (-sin, sin).

    No pair is taken apart and put together again, so it fuses the whole of it, and its gradient, with what is around.
    """
    cos, sin = cos_sin.unbind(-1)
    cos, sin = cos.repeat_interleave(2, dim=-1), torch.stack((-sin, sin), dim=-1).flatten(-2)
    x32 = x_BHTd.float()
    swapped = x32.unflatten(-1, (-1, 2)).flip(-1).flatten(-2)
    return (x32 * cos + swapped * sin).to(x_BHTd.dtype)


class TurnTwin(torch.autograd.Function):
    """The same in one pass: a pair is a complex number, and to turn it is to multiply it by cos + i sin.

    The gradient is turned back: it is multiplied by cos - i sin.
    """

    @staticmethod
    def forward(ctx: Any, x_BHTd: Tensor, cos_sin: Tensor) -> Tensor:
        ctx.save_for_backward(cos_sin)
        return multiply_pairs(x_BHTd, torch.view_as_complex(cos_sin))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        (cos_sin,) = ctx.saved_tensors
        return multiply_pairs(grads[0], torch.view_as_complex(cos_sin).conj()), None


def multiply_pairs(x_BHTd: Tensor, factors: Tensor) -> Tensor:
    """Each pair of x (..., T, d), taken as a complex number, times its factor (T, d/2) complex64."""
    pairs = torch.view_as_complex(x_BHTd.float().unflatten(-1, (-1, 2)))
    return torch.view_as_real(pairs * factors).flatten(-2).to(x_BHTd.dtype)


def turn_heads(x_BTHd: Tensor, turns_TP: Tensor, back: bool = False, out: Tensor | None = None) -> Tensor:
    """All heads of x, dense float32, turned by the table of `RotaryEmbedding.turns`, or turned back; on a CPU.

    With `out`, which may be x, the result is written there.
    """
    out = torch.empty_like(x_BTHd) if out is None else out
    if use_c(torch.float32, (x_BTHd, out)):
        return cpu.turn_heads(x_BTHd, turns_TP, back, out)
    pairs, result = as_pairs(x_BTHd), as_pairs(out)
    turns_TP = turns_TP[:, : pairs.shape[-1]]
    torch.mul(pairs, turns_TP.conj() if back else turns_TP, out=result)
    return out


def as_pairs(x_BTHd: Tensor) -> Tensor:
    """(B, T, H, d) float32, dense -> the same memory as (B, T, H d/2) complex numbers."""
    return torch.view_as_complex(x_BTHd.view(*x_BTHd.shape[:2], -1, 2))


class TurnApartTwin(torch.autograd.Function):
    """Queries, keys and values, which a product has put side by side, apart and turned: on a GPU, in one pass each way.

    (B, T, (H + 2G) d) -> (B, T, H, d), (B, T, G, d), (B, T, G, d). The values are not turned, and not copied.
    """

    @staticmethod
    def forward(
        ctx: Any, projected: Tensor, cos_sin: Tensor, num_heads: int, num_kv_heads: int
    ) -> tuple[Tensor, Tensor, Tensor]:
        from bittygpt.kernels import rope as kernels

        compute = kernels.turn_as_operation if torch.compiler.is_compiling() else kernels.turn
        q, k = compute(projected, cos_sin, num_heads, num_kv_heads)
        ctx.save_for_backward(cos_sin)
        v = projected[..., -num_kv_heads * q.shape[-1] :].unflatten(-1, (num_kv_heads, -1))
        return q, k, v

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None, None]:
        from bittygpt.kernels import rope as kernels

        compute = kernels.turn_back_as_operation if torch.compiler.is_compiling() else kernels.turn_back
        (cos_sin,) = ctx.saved_tensors
        dq, dk, dv = grads
        return compute(dq, dk, dv, cos_sin), None, None, None


class RotaryEmbedding(nn.Module):
    """A table of cosines and sines for positions 0..max_positions-1, and the turning itself.

    The angles are worked out in float64 and only their cosine and sine are kept, in float32: at position 100,000 a
    float32 angle would already be off by some thousandths of a radian. The table stays float32 when the model is
    cast to another dtype. It holds nothing learned, so no checkpoint has it.

    Raises:
        ValueError: an odd head dimension.
    """

    cos_sin: Tensor

    def __init__(self, head_dim: int, max_positions: int, theta: float = 10_000.0) -> None:
        super().__init__()
        if head_dim % 2:
            raise ValueError(f"RoPE turns pairs of features: head_dim must be even, and is {head_dim}")
        self.head_dim, self.max_positions, self.theta = head_dim, max_positions, theta
        self.register_buffer("cos_sin", self._table(None), persistent=False)
        self._turns: dict[tuple[int, int], Tensor] = {}

    def _table(self, device: torch.device | None) -> Tensor:
        pair = torch.arange(0, self.head_dim, 2, dtype=torch.float64, device=device)
        positions = torch.arange(self.max_positions, dtype=torch.float64, device=device)
        angles = torch.outer(positions, self.theta ** (-pair / self.head_dim))
        return torch.stack((angles.cos(), angles.sin()), dim=-1).float()

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> "RotaryEmbedding":
        # .to(dtype) would round the table, .to_empty() would leave it unset: make it anew where it now lives.
        super()._apply(fn, recurse)
        device = self.cos_sin.device
        self.cos_sin = self._table(None if device.type == "mps" else device).to(device)
        self._turns.clear()
        return self

    def forward(self, x_BHTd: Tensor, positions_T: Tensor | None = None) -> Tensor:
        """Turn the vectors x (B, H, T, d) to their positions (T,) int64; by default 0..T-1."""
        cos_sin = self.angles(x_BHTd.shape[-2], positions_T)
        if use_twin():
            return call(TurnTwin, x_BHTd, cos_sin)
        return turn(x_BHTd, cos_sin) if formulas_are_alone() else turn_by_swapping(x_BHTd, cos_sin)

    def angles(self, num_positions: int, positions_T: Tensor | None = None) -> Tensor:
        """The part of the table (T, d/2, 2) for the positions given, by default the first ones."""
        return self.cos_sin[:num_positions] if positions_T is None else self.cos_sin[positions_T]

    def turns(self, num_positions: int, num_heads: int) -> Tensor:
        """What turns the first positions of all heads: complex numbers (T, H d/2).

        The table once for each head: a product with it is a single loop, which with short heads takes half the time.
        """
        shape = num_positions, num_heads
        if shape not in self._turns:
            with torch.inference_mode(False):  # what is made in that mode cannot be used in training
                self._turns[shape] = torch.view_as_complex(self.angles(num_positions)).repeat(1, num_heads)
        return self._turns[shape]
