"""The gated feed-forward layer: gate and up by one product, and SwiGLU's gate with its backward pass by hand.

With s = sigmoid(gate):    y = silu(gate) · up        dup = dy · gate s        dgate = dy · up · s (1 + gate (1 - s))
"""

from typing import Any

import torch
from torch import Tensor

from bittygpt.core.activations import silu
from bittygpt.core.feed_forward import GatedFeedForward, SwiGLU
from bittygpt.engine.dispatch import runs_eagerly
from bittygpt.engine.formulas import Proof
from bittygpt.engine.function import FusedFunction
from bittygpt.engine.kernels import cpu
from bittygpt.engine.layers.products import LINEAR, matrices, side_by_side, suit

GATED = (
    "feed_forward.py:GatedFeedForward",
    "feed_forward.py:GatedFeedForward.forward",
    "feed_forward.py:SwiGLU",
)
GATE_AND_UP, SILU = Proof(*GATED, *LINEAR), Proof("activations.py:silu")
SWIGLU = Proof(*GATED, *LINEAR, "activations.py:silu")


def silu_and_slope(gate: Tensor, s: Tensor) -> tuple[Tensor, Tensor]:
    """silu(gate) = gate s, and its derivative s (1 + gate (1 - s)), with s = sigmoid(gate)."""
    activated = gate * s
    # s (1 + gate (1 - s)) = s + a (1 - s) = a + s (1 - a) with a = gate s: from a to 1 by a share of s
    return activated, torch.lerp(activated, torch.ones_like(activated[..., :1]), s)


def silu_gate(gate: Tensor, up: Tensor) -> Tensor:
    """silu(gate) · up, on a CPU in one pass."""
    found = cpu.swiglu(gate, up)
    return (gate * torch.sigmoid(gate)).mul_(up) if found is None else found


def silu_gate_gradients(dy: Tensor, gate: Tensor, up: Tensor) -> tuple[Tensor, Tensor]:
    """Those of gate and of up, by hand; what dy holds afterwards is undefined."""
    found = cpu.swiglu_gradients(dy, gate, up)
    if found is not None:
        return found
    activated, slope = silu_and_slope(gate, torch.sigmoid(gate))
    return slope.mul_(up).mul_(dy), activated.mul_(dy)


class SiLUGate(FusedFunction):
    """silu(gate) · up of the two side by side (..., 2F); both gradients are written side by side, too."""

    @staticmethod
    def formula(gate_and_up: Tensor) -> Tensor:
        gate, up = gate_and_up.chunk(2, dim=-1)
        return silu(gate) * up

    @staticmethod
    def forward(ctx: Any, gate_and_up: Tensor) -> Tensor:
        gate, up = gate_and_up.chunk(2, dim=-1)
        s = torch.sigmoid(gate)
        FusedFunction.save(ctx, (gate_and_up,), s)
        return (gate * s).mul_(up)

    @staticmethod
    def gradients(ctx: Any, *grads: Tensor) -> Tensor:
        gate_and_up, s = ctx.saved_tensors
        gate, up = gate_and_up.chunk(2, dim=-1)
        gradient = torch.empty_like(gate_and_up)
        dgate, dup = gradient.chunk(2, dim=-1)
        activated, slope = silu_and_slope(gate, s)
        torch.mul(grads[0], activated, out=dup)
        torch.mul(slope.mul_(up), grads[0], out=dgate)
        return gradient


class FusedGatedFeedForward(GatedFeedForward):
    """w1 and w3 by one product, whatever the activation; silu by hand where nothing compiles it."""

    formula: type[GatedFeedForward] = GatedFeedForward
    for_compiler = False  # whether the compiler may take the fast path: see `prepare_for_compile`

    def forward(self, x: Tensor) -> Tensor:
        """x (..., D) -> (..., D)."""
        eager = runs_eagerly()
        if not (eager or (torch.compiler.is_compiling() and self.for_compiler)):
            return super().forward(x)
        weights = self.gate_and_up() if eager else [self.w1.weight, self.w3.weight]
        if weights is None or (eager and not suit(x, weights)):
            return super().forward(x)
        gate_and_up = side_by_side(x, weights)
        if eager and self.activation is silu and SILU.holds():
            return self.w2(SiLUGate.apply(gate_and_up))
        width = gate_and_up.shape[-1] // 2
        # not by `chunk`, of whose parts autograd lets no activation change one in place
        gate, up = gate_and_up[..., :width], gate_and_up[..., width:]
        return self.w2(self.activation(gate) * up)

    def gate_and_up(self) -> list[Tensor] | None:
        """Their weights, if one product of them makes what the formula's two make."""
        weights = matrices(self.w1, self.w3) if GATE_AND_UP.holds() else None
        return weights if weights is not None and weights[0].shape == weights[1].shape else None

    def prepare_for_compile(self) -> None:
        """Decide for the compiler, which looks at no hooks."""
        self.for_compiler = self.gate_and_up() is not None


class FusedSwiGLU(FusedGatedFeedForward, SwiGLU):
    """The same for the layer with SiLU."""

    formula = SwiGLU
