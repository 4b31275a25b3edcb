"""Several products of the same x as one product, and the precision of products."""

from collections.abc import Sequence

import torch
from torch import Tensor

from bittygpt.core.linear import Linear
from bittygpt.engine.dispatch import is_plain, weight_of

LINEAR = ("linear.py:Linear", "linear.py:Linear.forward")


def matrices(*layers: object) -> list[Tensor] | None:
    """The weights of layers that are each Linear, as core has it, with a plain weight and nothing else; or None."""
    weights = [weight_of(layer, Linear) for layer in layers]
    found = [weight for weight in weights if weight is not None and weight.ndim == 2]
    return found if len(found) == len(layers) else None


def suit(x: Tensor, weights: Sequence[Tensor]) -> bool:
    """Whether x is plain, not empty, where the weights are, and can be multiplied by them."""
    return (
        is_plain(x)
        and x.numel() > 0
        and all(w.device == x.device and w.shape[1] == x.shape[-1] for w in weights)
    )


def side_by_side(x: Tensor, weights: Sequence[Tensor]) -> Tensor:
    """What each weight (d_out, d_in) makes of the same x, one beside the other: (..., d_in) -> (..., sum of all d_out).

    By one product: [W1; W2; …] x is W1 x above W2 x, and so on. One large product keeps a machine busier than several
    small ones, and x is read once. To put the weights together costs little beside it.
    """
    return x @ torch.cat(list(weights)).T


def in_precision(dtype: torch.dtype, *weights: Tensor) -> list[Tensor]:
    """The weights in that precision. `to` alone would take its time to find out that nothing is to be done."""
    return [w if w.dtype == dtype else w.to(dtype) for w in weights]


def weight_gradient(wanted: bool, dy_NF: Tensor, x_ND: Tensor) -> Tensor | None:
    """Of the product y = x Wᵀ: dW = dyᵀ x, if anyone wants it (fine-tuning may not)."""
    return dy_NF.T @ x_ND if wanted else None
