"""Adam and AdamW: a step as long as the gradient is steady, for each weight on its own.

Kingma & Ba 2015, algorithm 1; decoupled weight decay: Loshchilov & Hutter 2019, algorithm 2.
"""

import math
from collections.abc import Hashable, Iterable
from typing import Any, cast

import torch
from torch import Tensor, nn

from bittygpt.core.optimizer import Numbers, Optimizer
from bittygpt.core.twins import use_c, use_kernel, use_twin
from bittygpt.kernels import cpu

ALIGNED = 16  # bytes, of which the kernel reads as many at once
Tensors = tuple[Tensor, Tensor, Tensor, Tensor]  # a weight, its gradient, and its two means


class Adam(Optimizer):
    """Two running means for each weight: of the gradient (m) and of its square (v).

        m <- b1 m + (1 - b1) g          v <- b2 v + (1 - b2) g²
        w <- w - lr · (m / (1 - b1^t)) / (sqrt(v / (1 - b2^t)) + eps)

    Both start at zero and so begin too small; the divisions by 1 - b^t undo exactly that. Weight decay here is added
    to the gradient (L2), as in the paper's time; `AdamW` has it right. Moments are float32.

    Oracle: `torch.optim.Adam`, parameters and state.
    """

    decoupled, num_numbers = False, 3

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(params, {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay})
        self._tables: dict[Tensor, Any] = {}  # by the first weight of a kind: where they all lie

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        self._tables = {}  # a copy's tensors lie elsewhere

    def lasting(self) -> list[object]:
        """The tables of addresses."""
        return list(self._tables.values())

    def can_be_recorded(self, weights: list[Tensor]) -> bool:
        """Whether the kernel updates them all. The table for it is then made."""
        tensors = self._with_gradients_and_moments(weights)
        if not all(map(kernel_suits, tensors)):
            return False
        self._table(tensors)
        return True

    def next_numbers(self, weights: list[Tensor], group: dict[str, Any]) -> list[float]:
        """What decay leaves of the weights, lr / (1 - b1^t), and sqrt(1 - b2^t). Counts the step t."""
        t = int(self.state[weights[0]].get("step", 0)) + 1  # the same for all of a kind
        for p in weights:
            self.state[p]["step"] = t
        lr, (beta1, beta2), decay = group["lr"], group["betas"], group["weight_decay"]
        kept = 1 - lr * decay if self.decoupled else 1.0
        return [kept, lr / (1 - beta1**t), math.sqrt(1 - beta2**t)]

    def update(self, weights: list[Tensor], group: dict[str, Any], numbers: Numbers) -> None:
        """One step of weights of one kind: on a GPU all by one kernel, else on lists."""
        suited: list[Tensors] = []
        rest: list[Tensors] = []
        for tensors in self._with_gradients_and_moments(weights):
            (suited if kernel_suits(tensors) else rest).append(tensors)
        if suited:
            self._update_by_kernel(suited, group, numbers)
        if rest:
            self._update_on_lists(rest, group, numbers)

    def _with_gradients_and_moments(self, weights: list[Tensor]) -> list[Tensors]:
        for p in weights:
            if "exp_avg" not in self.state[p]:
                for key in ("exp_avg", "exp_avg_sq"):
                    self.state[p][key] = torch.zeros_like(p, dtype=torch.float32)
        states = [self.state[p] for p in weights]
        return [
            (p, cast(Tensor, p.grad), state["exp_avg"], state["exp_avg_sq"])
            for p, state in zip(weights, states, strict=True)
        ]

    def _decay_in_gradients(self, group: dict[str, Any]) -> float:
        return 0.0 if self.decoupled else float(group["weight_decay"])

    def _update_by_kernel(self, tensors: list[Tensors], group: dict[str, Any], numbers: Numbers) -> None:
        """The same on a GPU, in one pass over memory."""
        from bittygpt.kernels.adam import adam_

        weights = [weight for weight, *_ in tensors]
        if not isinstance(numbers, Tensor):
            numbers = torch.tensor(numbers).to(weights[0].device, non_blocking=True)
        decay = self._decay_in_gradients(group)
        adam_(self._table(tensors), weights, numbers, group["betas"], group["eps"], decay)

    def _table(self, tensors: list[Tensors]) -> Any:
        from bittygpt.kernels.adam import Table

        first = tensors[0][0]
        table = self._tables.get(first)
        if table is None or not table.is_of(tensors):
            table = self._tables[first] = Table(tensors)
        return table

    def _update_on_lists(self, tensors: list[Tensors], group: dict[str, Any], numbers: Numbers) -> None:
        """The formula above, on lists: of weights, their gradients, and their two means."""
        kept, step_size, root = map(float, numbers)
        (beta1, beta2), decay = group["betas"], self._decay_in_gradients(group)
        weights, grads, m, v = (list(column) for column in zip(*tensors, strict=True))
        if use_c(torch.float32, (*weights, *grads, *m, *v)):
            columns = weights, grads, m, v
            cpu.adam_(columns, kept, decay, group["betas"], group["eps"] * root, step_size * root)
            return
        if weights[0].dtype != torch.float32:
            grads = [grad.float() for grad in grads]

        if kept != 1:
            torch._foreach_mul_(weights, kept)
        if decay:
            grads = list(torch._foreach_add(grads, [p.float() for p in weights], alpha=decay))
        torch._foreach_lerp_(m, grads, 1 - beta1)
        torch._foreach_mul_(v, beta2)
        torch._foreach_addcmul_(v, grads, grads, value=1 - beta2)
        # sqrt(v / c) + eps = (sqrt(v) + eps sqrt(c)) / sqrt(c): the correction c costs no pass over the weights
        denominators = list(torch._foreach_sqrt(v))
        torch._foreach_add_(denominators, group["eps"] * root)
        if weights[0].dtype != torch.float32:
            m, denominators = ([x.to(weights[0].dtype) for x in xs] for xs in (m, denominators))
        torch._foreach_addcdiv_(weights, m, denominators, value=-step_size * root)

    def _kind(self, p: Tensor) -> Hashable:
        return p.dtype, self.state[p].get("step", 0)


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
    is_plain = type(weight) in (Tensor, nn.Parameter) and weight.dtype != torch.float64
    return is_plain and all(x.is_contiguous() and x.data_ptr() % ALIGNED == 0 for x in tensors)
