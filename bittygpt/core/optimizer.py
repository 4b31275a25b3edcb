"""What the optimizers share: a step over lists of parameters, as a call for each alone takes longer than its sums."""

from collections.abc import Callable, Hashable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

# What an update takes that changes from step to step: numbers, or where an update is recorded to be replayed with other
# ones (`training/recording.py`), a float32 vector of them on the device.
Numbers = Sequence[float] | Tensor


class Optimizer(torch.optim.Optimizer):
    """PyTorch's base class (groups of parameters, state of each) with the loop that every optimizer would repeat."""

    num_numbers = 1  # how many `next_numbers` gives

    def lasting(self) -> list[object]:
        """What the last update has put on the device, and a recorded one would read again."""
        return []

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
        for weights, group in self.parts():
            self.update(weights, group, self.next_numbers(weights, group))
        return loss

    def parts(self) -> Iterator[tuple[list[Tensor], dict[str, Any]]]:
        """Weights that are updated by the same calls, and their group's settings."""
        for group in self.param_groups:
            alike: dict[Hashable, list[Tensor]] = {}
            for p in group["params"]:
                if p.grad is not None:
                    alike.setdefault(self._kind(p), []).append(p)
            for weights in alike.values():
                yield weights, group

    def can_be_recorded(self, _weights: list[Tensor]) -> bool:
        """Whether `update` takes its numbers from the device, too, and nothing of it depends on any other value."""
        return False

    def next_numbers(self, weights: list[Tensor], group: dict[str, Any]) -> list[float]:
        """What `update` is to be given for the next step of weights of one kind. Counts that step."""
        raise NotImplementedError

    def update(self, weights: list[Tensor], group: dict[str, Any], numbers: Numbers) -> None:
        """One update of weights of one kind, all of which have a gradient."""
        raise NotImplementedError

    def _kind(self, p: Tensor) -> Hashable:
        """What parameters have in common that are updated by the same calls."""
        return p.dtype
