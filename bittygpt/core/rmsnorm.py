"""RMSNorm: give every vector the same length, then let the model choose a gain for each feature.

Zhang & Sennrich 2019, equation 4:  y = g · x / sqrt(mean(x²) + eps)
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from bittygpt.core.twins import call, use_c, use_twin
from bittygpt.kernels import cpu


def rms_norm(x: Tensor, gain_D: Tensor, eps: float) -> Tensor:
    """The formula: x (..., D), gain (D,) -> (..., D), in the dtype of x.

    Squares overflow in float16 and lose their digits in bfloat16, so the arithmetic is float32 whatever comes in.
    """
    x32 = x.float()
    inverse_rms = torch.rsqrt(x32.square().mean(dim=-1, keepdim=True) + eps)
    return (x32 * inverse_rms * gain_D.float()).to(x.dtype)


def normalized(x: Tensor, gain_D: Tensor, eps: float, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """x (..., D) -> g · x r in that precision, and r (..., 1) float32, with r = 1 / sqrt(mean(x²) + eps)."""
    x32 = x.float()
    if use_c(dtype, (x32, gain_D)):
        return cpu.rms_norm(x32, gain_D, eps, dtype)
    length = torch.linalg.vector_norm(x32, dim=-1, keepdim=True)
    mean_and_eps = torch.rsub(
        length.square_(), eps, alpha=-1 / x32.shape[-1]
    )  # eps + |x|² / D in one operation
    inverse_rms = mean_and_eps.rsqrt_()
    return (x32 * inverse_rms).mul_(gain_D).to(dtype), inverse_rms


def norm_gradients(
    dy: Tensor, x: Tensor, inverse_rms: Tensor, gain_D: Tensor, beside: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """The gradients of x and of the gain, by hand. With the gradient e = g · dy of the vector before the gain,

        dx = r (e - x r mean(e · x r))          dg = sum over all vectors of dy · x r

    `beside` is what reaches x by another way, and is added to dx. (..., D); both results float32.
    """
    x32 = x.float()
    of_float32 = (x32, inverse_rms, gain_D) if beside is None else (x32, inverse_rms, gain_D, beside)
    if use_c(dy.dtype, of_float32, products=(dy,)):
        return cpu.rms_norm_gradients(dy, x32, inverse_rms, gain_D, beside)
    normed, dy = x32 * inverse_rms, dy.float()
    dy_normed = dy * normed
    dgain = dy_normed.flatten(0, -2).sum(dim=0)
    total = (dy_normed @ gain_D.float()).unsqueeze(-1)  # of e · x r, over the features
    dx = torch.mul(dy, gain_D, out=dy_normed)  # its memory is in the cache
    dx.addcmul_(normed, total, value=-1 / normed.shape[-1])
    if beside is None:
        return dx.mul_(inverse_rms), dgain
    return torch.addcmul(beside, dx, inverse_rms, out=dx), dgain


class RMSNormTwin(torch.autograd.Function):
    """The same with its backward pass by hand."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, gain_D: Tensor, eps: float) -> Tensor:
        y, inverse_rms = normalized(x, gain_D, eps, x.dtype)
        ctx.save_for_backward(x, gain_D, inverse_rms)
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, None]:
        x, gain_D, inverse_rms = ctx.saved_tensors
        dx, dgain = norm_gradients(grads[0], x, inverse_rms, gain_D)
        return dx.to(grads[0].dtype), dgain, None


class RMSNorm(nn.Module):
    """Root-mean-square normalisation over the last dimension, with a learned gain that starts at 1.

    Oracle: `torch.nn.RMSNorm`.
    """

    def __init__(self, d_model: int, eps: float = 1e-5) -> None:
        super().__init__()
        self.eps = eps
        self.weight = nn.Parameter(torch.ones(d_model))

    def forward(self, x: Tensor) -> Tensor:
        """x (..., D) -> (..., D)."""
        if use_twin():
            return call(RMSNormTwin, x, self.weight, self.eps)
        return rms_norm(x, self.weight, self.eps)
