"""RMSNorm: give every vector the same length, then let the model choose a gain for each feature.

Zhang & Sennrich 2019, equation 4:  y = g · x / sqrt(mean(x²) + eps)
"""

import torch
from torch import Tensor, nn


class RMSNorm(nn.Module):
    """Root-mean-square normalisation over the last dimension, with a learned gain that starts at 1.

    Squares overflow in float16 and lose their digits in bfloat16, so the arithmetic is float32 whatever comes in,
    and the result goes back to the dtype that came.

    Oracle: `torch.nn.RMSNorm`.
    """

    def __init__(self, d_model: int, eps: float = 1e-5) -> None:
        super().__init__()
        self.eps = eps
        self.weight = nn.Parameter(torch.ones(d_model))

    def forward(self, x: Tensor) -> Tensor:
        """x (..., D) -> (..., D)."""
        x32 = x.float()
        inverse_rms = torch.rsqrt(x32.square().mean(dim=-1, keepdim=True) + self.eps)
        return (x32 * inverse_rms * self.weight.float()).to(x.dtype)
