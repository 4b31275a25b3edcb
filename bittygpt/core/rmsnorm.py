"""RMSNorm: give every vector the same length, then let the model choose a gain for each feature.

Zhang & Sennrich 2019, equation 4:  y = g · x / sqrt(mean(x²) + eps)
"""

import torch
from torch import Tensor, nn

from bittygpt.core.activations import upcast


def rms_norm(x: Tensor, gain_D: Tensor, eps: float) -> Tensor:
    """x (..., D), gain (D,) -> (..., D), in the dtype of x.

    Squares overflow in float16 and lose their digits in bfloat16, so the arithmetic is float32.
    """
    x32 = upcast(x)
    inverse_rms = torch.rsqrt(x32.square().mean(dim=-1, keepdim=True) + eps)
    return (x32 * inverse_rms * upcast(gain_D)).to(x.dtype)


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
        return rms_norm(x, self.weight, self.eps)
