"""Linear: a learned matrix times a vector, without a bias."""

import math
from collections.abc import Sequence

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


def side_by_side(x: Tensor, layers: Sequence[Linear]) -> Tensor:
    """What each layer makes of the same x, one beside the other: (..., d_in) -> (..., sum of all d_out).

    By one product: [W1; W2; …] x is W1 x above W2 x, and so on.

    One large product keeps the machine busier than several small ones, and x is read once. To put the weights
    together costs little beside it, and each keeps its own name and place in a checkpoint.
    """
    return x @ torch.cat([layer.weight for layer in layers]).T


def product_dtype(x: Tensor) -> torch.dtype:
    """The precision of matrix products: autocast's, or that of x."""
    kind = x.device.type
    return torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else x.dtype
