"""What the optimizers share: the loop over the parameters, and the check of their settings."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor


class Optimizer(torch.optim.Optimizer):
    """PyTorch's base class (groups of parameters, state of each) with the loop that every optimizer would repeat.

    An optimizer is a class with an `update`; state is float32 (float64 for a float64 weight), whatever the weight's
    precision: small steps would be rounded away.
    """

    only_matrices = False  # whether it is for matrices inside the layers, and AdamW for all else
    lr_beside_adamw = 1.0  # its learning rate where a config gives none, as a multiple of AdamW's

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """One update of every parameter that has a gradient."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            for weight in group["params"]:
                if weight.grad is not None:
                    self.update(weight, weight.grad, self.state[weight], group)
        return loss

    def update(self, w: Tensor, g: Tensor, state: dict[str, Any], group: dict[str, Any]) -> None:
        """Move one weight by its gradient, in place; `state` is the weight's own, empty at first."""
        raise NotImplementedError(f"{type(self).__name__} has no update")

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add parameters that share their settings. Raises what `check` raises."""
        self.check(param_group)
        super().add_param_group(param_group)

    def check(self, param_group: dict[str, Any]) -> None:
        """Raise ValueError for a setting out of its range."""
        settings = {**self.defaults, **param_group}
        for name in ("lr", "eps", "weight_decay"):
            if name in settings and not 0 <= settings[name] < float("inf"):
                raise ValueError(f"{name} {settings[name]} must be 0 or more")
        for beta in (*settings.get("betas", ()), settings.get("momentum", 0.0)):
            if not 0 <= beta < 1:
                raise ValueError(f"betas and momentum must be 0 or more and less than 1, and one is {beta}")

    @torch.no_grad()
    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Put back what `state_dict` gave, in the precision that it has there: PyTorch would round to the weight's."""
        super().load_state_dict(state_dict)
        weights = [weight for group in self.param_groups for weight in group["params"]]
        numbers = [number for group in state_dict["param_groups"] for number in group["params"]]
        for weight, number in zip(weights, numbers, strict=True):
            for key, value in state_dict["state"].get(number, {}).items():
                is_tensor = isinstance(value, Tensor)
                self.state[weight][key] = value.to(weight.device, copy=True) if is_tensor else value


def zeros_for(weight: Tensor) -> Tensor:
    """State of a weight's shape, in float32 or more, before the first step."""
    return torch.zeros_like(weight, dtype=torch.promote_types(weight.dtype, torch.float32))
