"""Optimizers that update all weights of a kind by the same calls on lists of tensors.

An update takes what changes from step to step as `Numbers`: floats, or where it is captured in a CUDA graph and
replayed with other ones (`cuda_graphs.py`), a float32 vector of them on the device.
"""

from collections.abc import Callable, Hashable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from bittygpt.core.optimizer import Optimizer
from bittygpt.engine.formulas import Proof

Numbers = Sequence[float] | Tensor
BASE = (
    "optimizer.py:Optimizer",
    "optimizer.py:Optimizer.step",
    "optimizer.py:Optimizer.add_param_group",
    "optimizer.py:zeros_for",
    "activations.py:upcast",
)


class FusedOptimizer(Optimizer):
    """An optimizer that updates weights alike by the same calls; weight by weight where its formula was changed."""

    proof: Proof
    num_numbers = 1  # how many `next_numbers` gives

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add parameters that share their settings.

        PyTorch hides this from its compiler, and loads the compiler to do so: more than half a second of every start.
        """
        self.check(param_group)
        hidden = torch.optim.Optimizer.add_param_group
        getattr(hidden, "__wrapped__", hidden)(self, param_group)

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """One update of every parameter that has a gradient."""
        if not self.holds():
            return super().step(closure)
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for weights, group in self.parts():
            self.update_list(weights, group, self.next_numbers(weights, group))
        return loss

    def holds(self) -> bool:
        """Whether the update is the formula that was proved, and nobody's own, of the object or of a subclass."""
        kinds = type(self).__mro__
        own = (self, *kinds[: kinds.index(FusedOptimizer)])
        return self.proof.holds() and not any("update" in vars(each) for each in own)

    def parts(self) -> Iterator[tuple[list[Tensor], dict[str, Any]]]:
        """Weights that are updated by the same calls, and their group's settings."""
        for group in self.param_groups:
            alike: dict[Hashable, list[Tensor]] = {}
            for p in group["params"]:
                if p.grad is not None:
                    alike.setdefault(self._kind(p), []).append(p)
            for weights in alike.values():
                yield weights, group

    def tensors_kept(self) -> list[object]:
        """What the last update has put on the device, and a captured one would read again."""
        return []

    def can_be_captured(self, _weights: list[Tensor]) -> bool:
        """Whether `update_list` takes its numbers from the device, too, and nothing of it depends on another value."""
        return False

    def next_numbers(self, weights: list[Tensor], group: dict[str, Any]) -> list[float]:
        """What `update_list` is to be given for the next step of weights of one kind. Counts that step."""
        raise NotImplementedError

    def update_list(self, weights: list[Tensor], group: dict[str, Any], numbers: Numbers) -> None:
        """One update of weights of one kind, all of which have a gradient."""
        raise NotImplementedError

    def _kind(self, p: Tensor) -> Hashable:
        """What parameters have in common that are updated by the same calls."""
        return p.dtype, p.device


def scale_(weights: list[Tensor], factor: float | Tensor) -> None:
    """Weights times a factor; in bfloat16 one by one, as on lists PyTorch rounds the factor, mostly to 1."""
    if weights[0].dtype.itemsize >= 4:
        torch._foreach_mul_(weights, factor)
    else:
        for weight in weights:
            weight.mul_(factor)
