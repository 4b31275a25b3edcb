"""Linear: a learned matrix times a vector, without a bias."""

import math

import torch
from torch import Tensor, nn


class Linear(nn.Module):
    """y = W x, the one place of the model where numbers from different features meet.

    W is stored as (d_out, d_in), as PyTorch and every exported format have it. It starts as
    N(0, 2 / (d_in + d_out)) cut at 3 standard deviations, which keeps the size of activations and of gradients
    about the same from layer to layer (Glorot & Bengio 2010).

    Oracle: `torch.nn.Linear(bias=False)`.
    """

    def __init__(self, d_in: int, d_out: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(d_out, d_in))
        std = math.sqrt(2 / (d_in + d_out))
        nn.init.trunc_normal_(self.weight, mean=0.0, std=std, a=-3 * std, b=3 * std)

    def forward(self, x: Tensor) -> Tensor:
        """x (..., d_in) -> (..., d_out)."""
        return x @ self.weight.T
