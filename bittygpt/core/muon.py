"""Muon: momentum whose every direction is made equally long before the step. For matrices alone.

Jordan et al. 2024 (https://kellerjordan.github.io/posts/muon/); scaling to AdamW's step: Liu et al. 2025 (Moonlight).
"""

import math
from collections.abc import Hashable, Iterable
from typing import Any

import torch
from torch import Tensor

from bittygpt.core.optimizer import Numbers, Optimizer

NEWTON_SCHULZ = (3.4445, -4.7750, 2.0315)
NEWTON_SCHULZ_STEPS = 5


def orthogonalize(
    matrix: Tensor, steps: int = NEWTON_SCHULZ_STEPS, dtype: torch.dtype = torch.float32
) -> Tensor:
    """About U Vᵀ of each matrix's U S Vᵀ: its singular values brought to between 0.7 and 1.2. (..., m, n) -> same.

    Each Newton-Schulz step maps a singular value s to a s + b s³ + c s⁵; the coefficients give up exactness at 1 for
    a steep rise at 0, so that five steps do. Those below a 700th of the matrix's norm do not come that far, and zeros
    stay zeros. Needs only matrix products: `dtype` bfloat16 is enough for them.
    """
    a, b, c = NEWTON_SCHULZ
    x = matrix.to(dtype).view(-1, *matrix.shape[-2:])
    tall = x.shape[-2] > x.shape[-1]
    x = x.mT if tall else x
    x = x / (torch.linalg.matrix_norm(x, keepdim=True) + 1e-7)
    for _ in range(steps):
        gram = x @ x.mT
        polynomial = torch.baddbmm(
            gram, gram, gram, beta=b, alpha=c
        )  # b s² + c s⁴, for every singular value s
        x = torch.baddbmm(x, polynomial, x, beta=a)
    return (x.mT if tall else x).to(matrix.dtype).view(matrix.shape)


class Muon(Optimizer):
    """u <- momentum · u + (1 - momentum) g;  w <- (1 - lr · decay) w - lr · 0.2 sqrt(max(m, n)) · orthogonalize(u').

    u' is u looked one step ahead (Nesterov). The factor 0.2 sqrt(max(m, n)) gives the update the root mean square that
    AdamW's usually has, so that one learning rate serves both. Embeddings, the head and gains belong to AdamW.
    `dtype` is the precision of the products that orthogonalize; momentum is float32.

    Oracle: `torch.optim.Muon` (torch >= 2.9).

    Raises:
        ValueError: a parameter that is no matrix.
    """

    num_numbers = 2

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        momentum: float = 0.95,
        weight_decay: float = 0.1,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        super().__init__(params, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})
        self.dtype = dtype
        if any(p.ndim != 2 for group in self.param_groups for p in group["params"]):
            raise ValueError("Muon orthogonalises matrices: give vectors and embeddings to AdamW")

    def _kind(self, p: Tensor) -> Hashable:
        return p.dtype, p.shape

    def can_be_recorded(self, _weights: list[Tensor]) -> bool:
        """Always."""
        return True

    def next_numbers(self, weights: list[Tensor], group: dict[str, Any]) -> list[float]:
        """What is kept of the weights, and how far they go in their direction."""
        scale = 0.2 * math.sqrt(max(weights[0].shape))
        return [1 - group["lr"] * group["weight_decay"], -group["lr"] * scale]

    def update(self, weights: list[Tensor], group: dict[str, Any], numbers: Numbers) -> None:
        """The formula above on matrices of one shape, stacked: one product for all of them keeps a device busy."""
        for p in weights:
            if "momentum_buffer" not in self.state[p]:
                self.state[p]["momentum_buffer"] = torch.zeros_like(p, dtype=torch.float32)
        momentum = [self.state[p]["momentum_buffer"] for p in weights]
        grads = [p.grad.float() for p in weights if p.grad is not None]
        torch._foreach_lerp_(momentum, grads, 1 - group["momentum"])
        ahead = torch._foreach_lerp(grads, momentum, group["momentum"])
        directions = orthogonalize(torch.stack(list(ahead)), dtype=self.dtype).to(weights[0].dtype)
        kept, distance = numbers
        torch._foreach_mul_(weights, kept)
        if isinstance(distance, Tensor):
            torch._foreach_add_(weights, directions.mul_(distance).unbind())
        else:
            torch._foreach_add_(weights, directions.unbind(), alpha=distance)
