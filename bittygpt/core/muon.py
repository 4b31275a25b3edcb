"""Muon: momentum whose every direction is made equally long before the step. For matrices alone.

Jordan et al. 2024 (https://kellerjordan.github.io/posts/muon/); scaling to AdamW's step: Liu et al. 2025 (Moonlight).
"""

import math
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

NEWTON_SCHULZ = (3.4445, -4.7750, 2.0315)


def orthogonalize(matrix: Tensor, steps: int = 5) -> Tensor:
    """About U Vᵀ of the matrix's U S Vᵀ: every singular value brought to between 0.7 and 1.2, (m, n) -> (m, n).

    Each Newton-Schulz step maps a singular value s to a s + b s³ + c s⁵; the coefficients give up exactness at 1 for
    a steep rise at 0, so that five steps do. Needs only matrix products: bfloat16 is enough for them on a GPU.
    """
    a, b, c = NEWTON_SCHULZ
    x = matrix.bfloat16() if matrix.is_cuda else matrix.float()
    tall = x.shape[0] > x.shape[1]
    x = x.T if tall else x
    x = x / (x.norm() + 1e-7)
    for _ in range(steps):
        gram = x @ x.T
        x = a * x + (b * gram + c * gram @ gram) @ x
    return (x.T if tall else x).to(matrix.dtype)


class Muon(Optimizer):
    """u <- momentum · u + (1 - momentum) g;  w <- (1 - lr · decay) w - lr · 0.2 sqrt(max(m, n)) · orthogonalize(u').

    u' is u looked one step ahead (Nesterov). The factor 0.2 sqrt(max(m, n)) gives the update the root mean square that
    AdamW's usually has, so that one learning rate serves both. Embeddings, the head and gains belong to AdamW.

    Oracle: `torch.optim.Muon` (torch >= 2.9).

    Raises:
        ValueError: a parameter that is no matrix.
    """

    def __init__(
        self, params: Iterable[Any], lr: float = 1e-3, momentum: float = 0.95, weight_decay: float = 0.1
    ) -> None:
        super().__init__(params, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})
        if any(p.ndim != 2 for group in self.param_groups for p in group["params"]):
            raise ValueError("Muon orthogonalises matrices: give vectors and embeddings to AdamW")

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
                state = self.state[p]
                if "momentum_buffer" not in state:
                    state["momentum_buffer"] = torch.zeros_like(p, dtype=torch.float32)
                momentum = state["momentum_buffer"].lerp_(p.grad.float(), 1 - group["momentum"])
                ahead = p.grad.float().lerp(momentum, group["momentum"])
                p.mul_(1 - group["lr"] * group["weight_decay"])
                scale = 0.2 * math.sqrt(max(p.shape))
                p.add_(orthogonalize(ahead).to(p.dtype), alpha=-group["lr"] * scale)
        return loss
