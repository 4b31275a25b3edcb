"""Adam and AdamW: a step as long as the gradient is steady, for each weight on its own.

Kingma & Ba 2015, algorithm 1; decoupled weight decay: Loshchilov & Hutter 2019, algorithm 2.
"""

from collections.abc import Iterable
from typing import Any

from torch import Tensor

from bittygpt.core.activations import upcast
from bittygpt.core.optimizer import Optimizer, zeros_for


class Adam(Optimizer):
    """Two running means for each weight: of the gradient (m) and of its square (v).

    Both start at zero and so begin too small; the divisions by 1 - b^t undo exactly that. Weight decay here is added
    to the gradient (L2), as in the paper's time; `AdamW` has it right.

    Raises:
        ValueError: lr, eps or weight_decay below 0, or a beta outside of 0 to 1.

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

    def update(self, w: Tensor, g: Tensor, state: dict[str, Any], group: dict[str, Any]) -> None:
        """The algorithm, a line of code a line of it."""
        lr, (beta1, beta2), eps = group["lr"], group["betas"], group["eps"]
        if not state:
            state.update(step=0, exp_avg=zeros_for(w), exp_avg_sq=zeros_for(w))
        m, v = state["exp_avg"], state["exp_avg_sq"]
        g = upcast(g)

        state["step"] += 1
        if self.decoupled:
            w.mul_(1 - lr * group["weight_decay"])
        else:
            g = g + group["weight_decay"] * w
        m.copy_(beta1 * m + (1 - beta1) * g)
        v.copy_(beta2 * v + (1 - beta2) * g * g)
        m_hat = m / (1 - beta1 ** state["step"])
        v_hat = v / (1 - beta2 ** state["step"])
        w.sub_(lr * m_hat / (v_hat.sqrt() + eps))


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
