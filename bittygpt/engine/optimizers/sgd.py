"""SGD on lists of weights."""

from typing import Any

import torch
from torch import Tensor

from bittygpt.core import SGD
from bittygpt.core.activations import upcast
from bittygpt.core.optimizer import zeros_for
from bittygpt.engine.formulas import Proof
from bittygpt.engine.optimizers.lists import BASE, FusedOptimizer, Numbers


class FusedSGD(FusedOptimizer, SGD):
    """By PyTorch's calls on lists."""

    proof = Proof("sgd.py:SGD", "sgd.py:SGD.update", *BASE)

    def next_numbers(self, _weights: list[Tensor], group: dict[str, Any]) -> list[float]:
        """The learning rate."""
        return [group["lr"]]

    def update_list(self, weights: list[Tensor], group: dict[str, Any], numbers: Numbers) -> None:
        """The formula, on all of them at once."""
        (lr,) = numbers
        updates = [upcast(p.grad) for p in weights if p.grad is not None]
        if group["weight_decay"]:
            updates = list(torch._foreach_add(updates, weights, alpha=group["weight_decay"]))
        if group["momentum"]:
            momentum = [self.state[p].setdefault("momentum_buffer", zeros_for(p)) for p in weights]
            torch._foreach_mul_(momentum, group["momentum"])
            torch._foreach_add_(momentum, updates)
            updates = momentum
        torch._foreach_add_(weights, updates, alpha=-float(lr))
