"""What the optimizers share: a step over lists of parameters, as a call for each alone takes longer than its sums."""

from collections.abc import Callable, Hashable
from typing import Any

import torch
from torch import Tensor


class Optimizer(torch.optim.Optimizer):
    """PyTorch's base class (groups of parameters, state of each) with the loop that every optimizer would repeat."""

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add parameters that share their settings.

        PyTorch hides this from its compiler, and loads the compiler to do so: more than half a second of every start.
        """
        hidden = torch.optim.Optimizer.add_param_group
        getattr(hidden, "__wrapped__", hidden)(self, param_group)

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """One update of every parameter that has a gradient."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            alike: dict[Hashable, list[Tensor]] = {}
            for p in group["params"]:
                if p.grad is not None:
                    alike.setdefault(self._kind(p), []).append(p)
            for weights in alike.values():
                self._update(weights, group)
        return loss

    def _kind(self, p: Tensor) -> Hashable:
        """What parameters have in common that are updated by the same calls."""
        return p.dtype

    def _update(self, weights: list[Tensor], group: dict[str, Any]) -> None:
        """One update of weights of one kind, all of which have a gradient."""
        raise NotImplementedError
