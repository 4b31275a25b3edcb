"""Stochastic gradient descent: a step against the gradient, with momentum if asked."""

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

from bittygpt.core.optimizer import Numbers, Optimizer


class SGD(Optimizer):
    """u <- momentum · u + g,  w <- w - lr · u  (Sutskever et al. 2013, in PyTorch's form: lr outside of u).

    `weight_decay` is added to the gradient, which without momentum is the same as shrinking the weights.
    Oracle: `torch.optim.SGD`, parameters and state.
    """

    def __init__(
        self, params: Iterable[Any], lr: float = 1e-3, momentum: float = 0.0, weight_decay: float = 0.0
    ) -> None:
        super().__init__(params, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})

    def next_numbers(self, _weights: list[Tensor], group: dict[str, Any]) -> list[float]:
        """The learning rate."""
        return [group["lr"]]

    def update(self, weights: list[Tensor], group: dict[str, Any], numbers: Numbers) -> None:
        """The formula above, on lists of tensors."""
        (lr,) = numbers
        updates = [p.grad for p in weights if p.grad is not None]
        if group["weight_decay"]:
            updates = list(torch._foreach_add(updates, weights, alpha=group["weight_decay"]))
        if group["momentum"]:
            for p in weights:
                if "momentum_buffer" not in self.state[p]:
                    self.state[p]["momentum_buffer"] = torch.zeros_like(p)
            momentum = [self.state[p]["momentum_buffer"] for p in weights]
            torch._foreach_mul_(momentum, group["momentum"])
            torch._foreach_add_(momentum, updates)
            updates = momentum
        torch._foreach_add_(weights, updates, alpha=-float(lr))
