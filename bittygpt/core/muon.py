"""Muon: momentum whose every direction is made equally long before the step. For matrices alone.

Jordan et al. 2024 (https://kellerjordan.github.io/posts/muon/); scaling to AdamW's step: Liu et al. 2025 (Moonlight).
"""

import math
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

from bittygpt.core.activations import upcast
from bittygpt.core.optimizer import Optimizer, zeros_for

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
        # b s² + c s⁴, for every singular value s
        polynomial = torch.baddbmm(gram, gram, gram, beta=b, alpha=c)
        x = torch.baddbmm(x, polynomial, x, beta=a)
    return (x.mT if tall else x).to(matrix.dtype).view(matrix.shape)


class Muon(Optimizer):
    """u <- momentum · u + (1 - momentum) g;  w <- (1 - lr · decay) w - lr · 0.2 sqrt(max(m, n)) · orthogonalize(u').

    u' is u looked one step ahead (Nesterov). The factor 0.2 sqrt(max(m, n)) gives the update the root mean square that
    AdamW's usually has, so that one learning rate serves both. Embeddings, the head and gains belong to AdamW.
    `dtype` is the precision of the products that orthogonalize; momentum is float32.

    Oracle: `torch.optim.Muon` (torch >= 2.9).

    Raises:
        ValueError: a parameter that is no matrix, lr or weight_decay below 0, or a momentum outside of 0 to 1.
    """

    only_matrices = True

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        momentum: float = 0.95,
        weight_decay: float = 0.1,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        self.dtype = dtype
        super().__init__(params, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})

    def check(self, param_group: dict[str, Any]) -> None:
        """Raise ValueError for a setting out of its range, or a parameter that is no matrix."""
        super().check(param_group)
        given = param_group["params"]
        param_group["params"] = [given] if isinstance(given, Tensor) else list(given)
        if any(weight.ndim != 2 for weight in param_group["params"]):
            raise ValueError("Muon orthogonalises matrices: give vectors and embeddings to AdamW")

    def update(self, w: Tensor, g: Tensor, state: dict[str, Any], group: dict[str, Any]) -> None:
        """The formula above."""
        lr, momentum = group["lr"], group["momentum"]
        g, u = upcast(g), state.setdefault("momentum_buffer", zeros_for(w))
        u.copy_(momentum * u + (1 - momentum) * g)
        ahead = momentum * u + (1 - momentum) * g
        w.mul_(1 - lr * group["weight_decay"])
        w.sub_(lr * 0.2 * math.sqrt(max(w.shape)) * orthogonalize(ahead, dtype=self.dtype))
