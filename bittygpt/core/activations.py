"""The functions that bend: softmax and its logarithm, and the activations of the feed-forward layer.

Exponentials overflow beyond 88 in float32 and lose all digits in bfloat16, so softmax subtracts the largest entry
first (which changes nothing: numerator and denominator shrink alike) and works in float32.
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor


def softmax(x: Tensor, dim: int = -1) -> Tensor:
    """exp(x_i) / sum_j exp(x_j) along `dim`, in the dtype of x. Oracle: `torch.softmax`."""
    x32 = x.float()
    exponentials = (x32 - x32.amax(dim=dim, keepdim=True)).exp()
    return (exponentials / exponentials.sum(dim=dim, keepdim=True)).to(x.dtype)


def log_softmax(x: Tensor, dim: int = -1) -> Tensor:
    """x_i - log sum_j exp(x_j) along `dim`, in the dtype of x. Oracle: `torch.log_softmax`."""
    x32 = x.float()
    shifted = x32 - x32.amax(dim=dim, keepdim=True)
    return (shifted - shifted.exp().sum(dim=dim, keepdim=True).log()).to(x.dtype)


def silu(x: Tensor) -> Tensor:
    """x · sigmoid(x), also called Swish (Elfwing et al. 2017). Oracle: `torch.nn.functional.silu`."""
    return x * torch.sigmoid(x)


def gelu(x: Tensor) -> Tensor:
    """x · Phi(x), Phi being the normal distribution function (Hendrycks & Gimpel 2016); exact, not the tanh form."""
    x32 = x.float()  # 1 + erf has no digits left in bfloat16 where erf is near -1
    return (x32 * 0.5 * (1.0 + torch.erf(x32 / math.sqrt(2.0)))).to(x.dtype)


def relu(x: Tensor) -> Tensor:
    """max(x, 0), with a slope of 0 at 0. Oracle: `torch.nn.functional.relu`."""
    return torch.where(x <= 0, 0.0, x)


def relu2(x: Tensor) -> Tensor:
    """max(x, 0)², the squared ReLU (So et al. 2021, Primer)."""
    return relu(x).square()


Activation = Callable[[Tensor], Tensor]
