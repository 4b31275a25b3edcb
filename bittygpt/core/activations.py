"""The functions that bend: softmax and its logarithm, and the activations of the feed-forward layer.

Exponentials overflow beyond 88 in float32 and lose all digits in bfloat16, so softmax subtracts the largest entry
first (which changes nothing: numerator and denominator shrink alike) and works in float32.
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor

Activation = Callable[[Tensor], Tensor]


def upcast(x: Tensor) -> Tensor:
    """x in float32, the precision of all arithmetic but matrix products; a float64 tensor stays as it is."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


def softmax(x: Tensor, dim: int = -1) -> Tensor:
    """exp(x_i) / sum_j exp(x_j) along `dim`, in the dtype of x. Oracle: `torch.softmax`."""
    exponentials = minus_largest(upcast(x), dim).exp()
    return (exponentials / exponentials.sum(dim=dim, keepdim=True)).to(x.dtype)


def log_softmax(x: Tensor, dim: int = -1) -> Tensor:
    """x_i - log sum_j exp(x_j) along `dim`, in the dtype of x. Oracle: `torch.log_softmax`."""
    shifted = minus_largest(upcast(x), dim)
    return (shifted - shifted.exp().sum(dim=dim, keepdim=True).log()).to(x.dtype)


def minus_largest(x: Tensor, dim: int) -> Tensor:
    """x minus its largest entry along `dim`, a constant to autograd: softmax is the same whatever is taken off."""
    return x - x.detach().amax(dim=dim, keepdim=True) if x.numel() else x


def silu(x: Tensor) -> Tensor:
    """x · sigmoid(x), also called Swish (Elfwing et al. 2017). Oracle: `torch.nn.functional.silu`."""
    return x * torch.sigmoid(x)


def gelu(x: Tensor) -> Tensor:
    """x · Phi(x), Phi being the normal distribution function (Hendrycks & Gimpel 2016); exact, not the tanh form."""
    x32 = upcast(x)  # 1 + erf has no digits left in bfloat16 where erf is near -1
    return (x32 * 0.5 * (1.0 + torch.erf(x32 / math.sqrt(2.0)))).to(x.dtype)


def relu(x: Tensor) -> Tensor:
    """max(x, 0), with a slope of 0 at 0. Oracle: `torch.nn.functional.relu`."""
    return torch.where(x <= 0, 0.0, x)


def relu2(x: Tensor) -> Tensor:
    """max(x, 0)², the squared ReLU (So et al. 2021, Primer)."""
    return relu(x).square()
