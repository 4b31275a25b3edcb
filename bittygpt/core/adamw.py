"""Adam and AdamW: a step as long as the gradient is steady, for each weight on its own.

Kingma & Ba 2015, algorithm 1; decoupled weight decay: Loshchilov & Hutter 2019, algorithm 2.
"""

import math
from collections.abc import Hashable, Iterable
from typing import Any, cast

import torch
from torch import Tensor, nn

from bittygpt.core.optimizer import Optimizer
from bittygpt.core.twins import use_kernel, use_twin

# Weights of a tensor from which on a kernel of its own saves more than its launch takes (by reckoning: some 10 µs
# against 50 bytes of traffic a weight). Smaller ones share the operations on lists.
KERNEL_FROM = 1 << 18


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

    def _kind(self, p: Tensor) -> Hashable:
        return p.dtype, self.state[p].get("step", 0)

    def _update(self, weights: list[Tensor], group: dict[str, Any]) -> None:
        """One step of weights of one kind: large ones on a GPU by the kernel, all others on lists."""
        t = int(self.state[weights[0]].get("step", 0)) + 1  # the same for all of a kind
        on_lists = []
        for p in weights:
            state = self.state[p]
            if not state:
                moments = {key: torch.zeros_like(p, dtype=torch.float32) for key in ("exp_avg", "exp_avg_sq")}
                state.update(step=t, **moments)
            state["step"] = t
            tensors = (p, cast(Tensor, p.grad), state["exp_avg"], state["exp_avg_sq"])
            if kernel_suits(tensors):
                from bittygpt.kernels.adam import adam_

                decay = {"decoupled_decay" if self.decoupled else "l2": group["weight_decay"]}
                adam_(*tensors, t, group["lr"], group["betas"], group["eps"], **decay)
            else:
                on_lists.append(tensors)
        if on_lists:
            self._update_on_lists(on_lists, t, group)

    def _update_on_lists(
        self, tensors: list[tuple[Tensor, Tensor, Tensor, Tensor]], t: int, group: dict[str, Any]
    ) -> None:
        """The formula above, on lists: of weights, their gradients, and their two means."""
        lr, (beta1, beta2), decay = group["lr"], group["betas"], group["weight_decay"]
        weights, grads, m, v = (list(column) for column in zip(*tensors, strict=True))
        if weights[0].dtype != torch.float32:
            grads = [grad.float() for grad in grads]

        if decay and self.decoupled:
            torch._foreach_mul_(weights, 1 - lr * decay)
        elif decay:
            grads = list(torch._foreach_add(grads, [p.float() for p in weights], alpha=decay))
        torch._foreach_lerp_(m, grads, 1 - beta1)
        torch._foreach_mul_(v, beta2)
        torch._foreach_addcmul_(v, grads, grads, value=1 - beta2)
        # sqrt(v / c) + eps = (sqrt(v) + eps sqrt(c)) / sqrt(c): the correction c costs no pass over the weights
        root = math.sqrt(1 - beta2**t)
        denominators = list(torch._foreach_sqrt(v))
        torch._foreach_add_(denominators, group["eps"] * root)
        if weights[0].dtype != torch.float32:
            m, denominators = ([x.to(weights[0].dtype) for x in xs] for xs in (m, denominators))
        torch._foreach_addcdiv_(weights, m, denominators, value=-lr * root / (1 - beta1**t))


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


def kernel_suits(tensors: tuple[Tensor, ...]) -> bool:
    """Whether the kernel is to update a weight: the first of these, beside its gradient and its means.

    Not so a part of a tensor that ranks share out (a DTensor): only PyTorch knows what of it lies where.
    """
    weight = tensors[0]
    if not (use_twin() and use_kernel(weight)):  # asked first: on a CPU that is all
        return False
    large_and_plain = weight.numel() >= KERNEL_FROM and type(weight) in (Tensor, nn.Parameter)
    precise_enough = weight.dtype != torch.float64
    return large_and_plain and precise_enough and all(tensor.is_contiguous() for tensor in tensors)
