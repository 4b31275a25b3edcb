"""Stochastic gradient descent: a step against the gradient, with momentum if asked."""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch.optim import Optimizer


class SGD(Optimizer):
    """u <- momentum · u + g,  w <- w - lr · u  (Sutskever et al. 2013, in PyTorch's form: lr outside of u).

    `weight_decay` is added to the gradient, which for SGD is the same as shrinking the weights.
    Oracle: `torch.optim.SGD`, parameters and state.
    """

    def __init__(
        self, params: Iterable[Any], lr: float = 1e-3, momentum: float = 0.0, weight_decay: float = 0.0
    ) -> None:
        super().__init__(params, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """One update of every parameter that has a gradient."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is None:
                    continue
                update = p.grad + group["weight_decay"] * p if group["weight_decay"] else p.grad
                if group["momentum"]:
                    state = self.state[p]
                    if "momentum_buffer" not in state:
                        state["momentum_buffer"] = torch.zeros_like(p)
                    update = state["momentum_buffer"].mul_(group["momentum"]).add_(update)
                p.add_(update, alpha=-group["lr"])
        return loss
