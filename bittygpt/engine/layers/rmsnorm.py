"""RMSNorm with its backward pass by hand: as few passes over memory as there can be.

With r = 1 / sqrt(mean(x²) + eps) and the gradient e = g · dy of the vector before the gain,

    y = g · x r        dx = r (e - x r mean(e · x r))        dg = sum over all vectors of dy · x r
"""

from typing import Any

import torch
from torch import Tensor

from bittygpt.core.rmsnorm import RMSNorm, rms_norm
from bittygpt.engine.dispatch import are_plain, only_weight, runs_eagerly
from bittygpt.engine.formulas import Proof
from bittygpt.engine.function import FusedFunction
from bittygpt.engine.kernels import cpu

RMS_NORM = (
    "rmsnorm.py:RMSNorm",
    "rmsnorm.py:RMSNorm.forward",
    "rmsnorm.py:rms_norm",
    "activations.py:upcast",
)
PROOF = Proof(*RMS_NORM)


def normalized(x: Tensor, gain_D: Tensor, eps: float, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """x (..., D) -> g · x r in that precision, and r (..., 1) float32."""
    x32 = x.float()
    found = cpu.rms_norm(x32, gain_D, eps, dtype)
    if found is not None:
        return found
    length = torch.linalg.vector_norm(x32, dim=-1, keepdim=True)
    # eps + |x|² / D in one operation
    mean_and_eps = torch.rsub(length.square_(), eps, alpha=-1 / x32.shape[-1])
    inverse_rms = mean_and_eps.rsqrt_()
    return (x32 * inverse_rms).mul_(gain_D).to(dtype), inverse_rms


def norm_gradients(
    dy: Tensor, x: Tensor, inverse_rms: Tensor, gain_D: Tensor, beside: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """The gradients of x (..., D) and of the gain, float32. `beside` is what reaches x by another way, and is added."""
    x32 = x.float()
    found = cpu.rms_norm_gradients(dy, x32, inverse_rms, gain_D, beside)
    if found is not None:
        return found
    normed, dy = x32 * inverse_rms, dy.float()
    dy_normed = dy * normed
    dgain = dy_normed.reshape(-1, x.shape[-1]).sum(dim=0)
    total = (dy_normed @ gain_D.float()).unsqueeze(-1)  # of e · x r, over the features
    dx = torch.mul(dy, gain_D, out=dy_normed)  # its memory is in the cache
    dx.addcmul_(normed, total, value=-1 / normed.shape[-1])
    if beside is None:
        return dx.mul_(inverse_rms), dgain
    return torch.addcmul(beside, dx, inverse_rms, out=dx), dgain


class RMSNormFunction(FusedFunction):
    """x (..., D), gain (D,) -> (..., D) in the dtype of x."""

    formula = staticmethod(rms_norm)

    @staticmethod
    def forward(ctx: Any, x: Tensor, gain_D: Tensor, eps: float) -> Tensor:
        y, inverse_rms = normalized(x, gain_D, eps, x.dtype)
        FusedFunction.save(ctx, (x, gain_D, eps), inverse_rms)
        return y

    @staticmethod
    def gradients(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, None]:
        x, gain_D, inverse_rms = ctx.saved_tensors
        dx, dgain = norm_gradients(grads[0], x, inverse_rms, gain_D)
        return dx.to(x.dtype), dgain.to(gain_D.dtype), None


def is_number(eps: object) -> bool:
    """Whether it is one, and no tensor: that may be learned, or another one for each feature."""
    return isinstance(eps, float | int)


class FusedRMSNorm(RMSNorm):
    """RMSNorm by the function above, where it is compiled by nothing else."""

    formula = RMSNorm

    def forward(self, x: Tensor) -> Tensor:
        """x (..., D) -> (..., D)."""
        if runs_eagerly() and self.suits(x):
            y: Tensor = RMSNormFunction.apply(x, self.weight, self.eps)
            return y
        return super().forward(x)

    def suits(self, x: Tensor) -> bool:
        """Whether the function does what the formula does with this x."""
        return (
            only_weight(self) is not None
            and is_number(self.eps)
            and are_plain(x, self.weight)
            and x.numel() > 0
            and x.shape[-1:] == self.weight.shape
            and x.is_floating_point()
            and torch.float64 not in (x.dtype, self.weight.dtype)
            and PROOF.holds()
        )
