"""Stochastic gradient descent: a step against the gradient, with momentum if asked."""

from collections.abc import Iterable
from typing import Any

from torch import Tensor

from bittygpt.core.activations import upcast
from bittygpt.core.optimizer import Optimizer, zeros_for


class SGD(Optimizer):
    """u <- momentum · u + g,  w <- w - lr · u  (Sutskever et al. 2013, in PyTorch's form: lr outside of u).

    `weight_decay` is added to the gradient, which without momentum is the same as shrinking the weights.

    Raises:
        ValueError: lr or weight_decay below 0, or a momentum outside of 0 to 1.

    Oracle: `torch.optim.SGD`, parameters and state.
    """

    def __init__(
        self, params: Iterable[Any], lr: float = 1e-3, momentum: float = 0.0, weight_decay: float = 0.0
    ) -> None:
        super().__init__(params, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})

    def update(self, w: Tensor, g: Tensor, state: dict[str, Any], group: dict[str, Any]) -> None:
        """The formula above."""
        u = upcast(g) + group["weight_decay"] * w
        if group["momentum"]:
            momentum = state.setdefault("momentum_buffer", zeros_for(w))
            u = momentum.mul_(group["momentum"]).add_(u)
        w.sub_(group["lr"] * u)
