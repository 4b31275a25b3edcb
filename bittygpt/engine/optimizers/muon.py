"""Muon on matrices of one shape at once."""

import math
from collections.abc import Hashable
from typing import Any

import torch
from torch import Tensor

from bittygpt.core import Muon
from bittygpt.core.muon import orthogonalize
from bittygpt.core.optimizer import zeros_for
from bittygpt.engine.formulas import Proof
from bittygpt.engine.optimizers.lists import BASE, FusedOptimizer, Numbers, scale_


class FusedMuon(FusedOptimizer, Muon):
    """Matrices of one shape stacked: one product for all of them keeps a device busy."""

    proof = Proof("muon.py:Muon", "muon.py:Muon.update", "muon.py:orthogonalize", *BASE)
    num_numbers = 2

    def _kind(self, p: Tensor) -> Hashable:
        return p.dtype, p.device, p.shape

    def can_be_captured(self, _weights: list[Tensor]) -> bool:
        """Always."""
        return True

    def next_numbers(self, weights: list[Tensor], group: dict[str, Any]) -> list[float]:
        """What is kept of the weights, and how far they go in their direction."""
        scale = 0.2 * math.sqrt(max(weights[0].shape))
        return [1 - group["lr"] * group["weight_decay"], -group["lr"] * scale]

    def update_list(self, weights: list[Tensor], group: dict[str, Any], numbers: Numbers) -> None:
        """The formula, on all of them at once."""
        momentum = [self.state[p].setdefault("momentum_buffer", zeros_for(p)) for p in weights]
        grads = [p.grad.to(momentum[0].dtype) for p in weights if p.grad is not None]
        torch._foreach_lerp_(momentum, grads, 1 - group["momentum"])
        ahead = torch._foreach_lerp(grads, momentum, group["momentum"])
        directions = orthogonalize(torch.stack(list(ahead)), dtype=self.dtype)
        kept, distance = numbers
        scale_(weights, kept)
        if isinstance(distance, Tensor):
            torch._foreach_add_(weights, directions.mul_(distance).unbind())
        else:
            torch._foreach_add_(weights, directions.unbind(), alpha=distance)
