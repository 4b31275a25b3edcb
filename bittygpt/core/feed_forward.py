"""The feed-forward layer: what a position does with what attention has brought it.

It can be read as a memory of key-value pairs (Geva et al. 2021): each of the F rows of w1 is a key that answers to
some pattern in x, and the matching column of w2 is what is written back when it does.

Shapes: D d_model, F d_ff.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from bittygpt.core.activations import Activation, gelu, relu, relu2, silu
from bittygpt.core.linear import Linear, side_by_side
from bittygpt.core.twins import call, use_c, use_twin
from bittygpt.kernels import cpu

GATES: dict[str, Activation] = {"swiglu": silu, "geglu": gelu, "reglu": relu}
PLAIN: dict[str, Activation] = {"gelu": gelu, "relu": relu, "relu2": relu2}


def default_d_ff(d_model: int, activation: str = "swiglu") -> int:
    """4 d_model for a plain layer; for a gated one 8/3 d_model, to the nearest multiple of 64 (of two, the greater).

    Its three matrices then hold about as many numbers as the two of the plain layer (Shazeer 2020).
    """
    return 4 * d_model if activation in PLAIN else max(64, (d_model + 12) // 24 * 64)


class GatedFeedForward(nn.Module):
    """w2 (activation(w1 x) * w3 x): one projection opens and closes the other (Shazeer 2020, equation 6)."""

    def __init__(self, d_model: int, d_ff: int, activation: Activation) -> None:
        super().__init__()
        self.w1 = Linear(d_model, d_ff)
        self.w2 = Linear(d_ff, d_model)
        self.w3 = Linear(d_model, d_ff)
        self.activation = activation

    def forward(self, x: Tensor) -> Tensor:
        """x (..., D) -> (..., D)."""
        return self.w2(self.gated(side_by_side(x, (self.w1, self.w3))))

    def gated(self, gate_and_up: Tensor) -> Tensor:
        """activation(gate) * up, of the two side by side: (..., 2F) -> (..., F)."""
        gate, up = gate_and_up.chunk(2, dim=-1)
        return self.activation(gate) * up


def silu_and_slope(gate: Tensor, s: Tensor) -> tuple[Tensor, Tensor]:
    """silu(gate) = gate s, and its derivative s (1 + gate (1 - s)), with s = sigmoid(gate)."""
    activated = gate * s
    # s (1 + gate (1 - s)) = s + a (1 - s) = a + s (1 - a) with a = gate s: from a to 1 by a share of s
    return activated, torch.lerp(activated, torch.ones_like(activated[..., :1]), s)


class SiLUGateTwin(torch.autograd.Function):
    """silu(gate) · up with its backward pass by hand. With s = sigmoid(gate),

    dup = dy · gate s          dgate = dy · up · s (1 + gate (1 - s))

    Both gradients are written where the backward pass of the product wants them, side by side.
    """

    @staticmethod
    def forward(ctx: Any, gate_and_up: Tensor) -> Tensor:
        gate, up = gate_and_up.chunk(2, dim=-1)
        s = torch.sigmoid(gate)
        ctx.save_for_backward(gate_and_up, s)
        return (gate * s).mul_(up)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        gate_and_up, s = ctx.saved_tensors
        gate, up = gate_and_up.chunk(2, dim=-1)
        dy = grads[0]
        gradient = torch.empty_like(gate_and_up)
        dgate, dup = gradient.chunk(2, dim=-1)
        activated, slope = silu_and_slope(gate, s)
        torch.mul(dy, activated, out=dup)
        torch.mul(slope.mul_(up), dy, out=dgate)
        return gradient


def silu_gate(gate: Tensor, up: Tensor) -> Tensor:
    """silu(gate) · up, on a CPU in one pass."""
    if use_c(gate.dtype, products=(gate, up)):
        return cpu.swiglu(gate, up)
    return (gate * torch.sigmoid(gate)).mul_(up)


def silu_gate_gradients(dy: Tensor, gate: Tensor, up: Tensor) -> tuple[Tensor, Tensor]:
    """Those of gate and of up, by hand; what dy holds afterwards is undefined. With s = sigmoid(gate),

    dgate = dy · up · s (1 + gate (1 - s))          dup = dy · gate s
    """
    if use_c(gate.dtype, products=(dy, gate, up)):
        return cpu.swiglu_gradients(dy, gate, up)
    activated, slope = silu_and_slope(gate, torch.sigmoid(gate))
    return slope.mul_(up).mul_(dy), activated.mul_(dy)


class SwiGLU(GatedFeedForward):
    """The gated feed-forward layer with SiLU as its gate: that of Llama and Qwen."""

    def __init__(self, d_model: int, d_ff: int | None = None) -> None:
        super().__init__(d_model, default_d_ff(d_model) if d_ff is None else d_ff, silu)

    def gated(self, gate_and_up: Tensor) -> Tensor:
        """silu(gate) * up, of the two side by side: (..., 2F) -> (..., F)."""
        return call(SiLUGateTwin, gate_and_up) if use_twin() else super().gated(gate_and_up)


class FeedForward(nn.Module):
    """w2 activation(w1 x): the feed-forward layer without a gate (Vaswani et al. 2017, equation 2)."""

    def __init__(self, d_model: int, d_ff: int, activation: Activation) -> None:
        super().__init__()
        self.w1 = Linear(d_model, d_ff)
        self.w2 = Linear(d_ff, d_model)
        self.activation = activation

    def forward(self, x: Tensor) -> Tensor:
        """x (..., D) -> (..., D)."""
        return self.w2(self.activation(self.w1(x)))


def make_feed_forward(d_model: int, d_ff: int, activation: str) -> nn.Module:
    """The layer for `model.activation`. Raises ValueError for a name that is in neither table."""
    if activation == "swiglu":
        return SwiGLU(d_model, d_ff)
    if activation in GATES:
        return GatedFeedForward(d_model, d_ff, GATES[activation])
    if activation in PLAIN:
        return FeedForward(d_model, d_ff, PLAIN[activation])
    raise ValueError(f"activation {activation!r} is none of {', '.join([*GATES, *PLAIN])}")
