"""Adam and AdamW: a step as long as the gradient is steady, for each weight on its own.

Kingma & Ba 2015, algorithm 1; decoupled weight decay: Loshchilov & Hutter 2019, algorithm 2.
"""

import math
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer


class Adam(Optimizer):
    """Two running means for each weight: of the gradient (m) and of its square (v).

        m <- b1 m + (1 - b1) g          v <- b2 v + (1 - b2) g²
        w <- w - lr · (m / (1 - b1^t)) / (sqrt(v / (1 - b2^t)) + eps)

    Both start at zero and so begin too small; the divisions by 1 - b^t undo exactly that. Weight decay here is added
    to the gradient (L2), as in the paper's time; `AdamW` has it right. Moments are float32.

    Oracle: `torch.optim.Adam`, parameters and state.
    """

    decoupled = False

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(params, {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """One update of every parameter that has a gradient."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is not None:
                    self._update(p, p.grad.float(), group)
        return loss

    def _update(self, p: Tensor, grad: Tensor, group: dict[str, Any]) -> None:
        state = self.state[p]
        if not state:
            state["step"] = 0
            state["exp_avg"] = torch.zeros_like(p, dtype=torch.float32)
            state["exp_avg_sq"] = torch.zeros_like(p, dtype=torch.float32)
        lr, (beta1, beta2), decay = group["lr"], group["betas"], group["weight_decay"]
        state["step"] += 1
        t, m, v = state["step"], state["exp_avg"], state["exp_avg_sq"]

        if decay and self.decoupled:
            p.mul_(1 - lr * decay)
        elif decay:
            grad = grad + decay * p.float()
        m.lerp_(grad, 1 - beta1)
        v.mul_(beta2).addcmul_(grad, grad, value=1 - beta2)
        denominator = v.sqrt().div_(math.sqrt(1 - beta2**t)).add_(group["eps"])
        p.addcdiv_(m.to(p.dtype), denominator.to(p.dtype), value=-lr / (1 - beta1**t))


class AdamW(Adam):
    """Adam with weight decay apart from the gradient: w <- (1 - lr · decay) w, before the step.

    Added to the gradient, decay would be divided by sqrt(v) like the rest, and weights with large gradients would
    hardly decay at all. Oracle: `torch.optim.AdamW`, parameters and state.
    """

    decoupled = True

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.01,
    ) -> None:
        super().__init__(params, lr, betas, eps, weight_decay)
