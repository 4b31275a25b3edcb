"""Adam and AdamW: on a CPU in one pass by C, on a GPU all weights by one Triton kernel, else by calls on lists."""

import math
from collections.abc import Hashable
from typing import Any, cast

import torch
from torch import Tensor

from bittygpt.core import Adam, AdamW
from bittygpt.core.optimizer import zeros_for
from bittygpt.engine.dispatch import is_plain
from bittygpt.engine.formulas import Proof
from bittygpt.engine.kernels import cpu, work_on
from bittygpt.engine.optimizers.lists import BASE, FusedOptimizer, Numbers, scale_

Columns = tuple[list[Tensor], list[Tensor], list[Tensor], list[Tensor]]  # weights, gradients, and both means
ALIGNED = 16  # bytes, of which the kernel for a GPU reads as many at once


class FusedAdam(FusedOptimizer, Adam):
    """On a CPU in one pass by C, on a GPU all by one Triton kernel, else by PyTorch's calls on lists."""

    proof = Proof("adamw.py:Adam", "adamw.py:Adam.update", "adamw.py:AdamW", *BASE)
    num_numbers = 3

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._tables: dict[Tensor, Any] = {}  # by the first weight of a kind: where they all lie
        super().__init__(*args, **kwargs)

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        self._tables = {}  # a copy's tensors lie elsewhere

    def tensors_kept(self) -> list[object]:
        """The tables of addresses."""
        return list(self._tables.values())

    def can_be_captured(self, weights: list[Tensor]) -> bool:
        """Whether the kernel updates them all. The table for it is then made."""
        columns = self._columns(weights)
        if not all(map(kernel_suits, zip(*columns, strict=True))):
            return False
        self._table(columns)
        return True

    def next_numbers(self, weights: list[Tensor], group: dict[str, Any]) -> list[float]:
        """What decay leaves of the weights, lr / (1 - b1^t), and sqrt(1 - b2^t). Counts the step t."""
        t = int(self.state[weights[0]].get("step", 0)) + 1  # the same for all of a kind
        for p in weights:
            self.state[p]["step"] = t
        lr, (beta1, beta2), decay = group["lr"], group["betas"], group["weight_decay"]
        kept = 1 - lr * decay if self.decoupled else 1.0
        return [kept, lr / (1 - beta1**t), math.sqrt(1 - beta2**t)]

    def update_list(self, weights: list[Tensor], group: dict[str, Any], numbers: Numbers) -> None:
        """One step of weights of one kind: on a GPU, if they all suit it, by one kernel, else on lists."""
        columns = self._columns(weights)
        by_kernel = all(map(kernel_suits, zip(*columns, strict=True)))
        update = self._update_by_kernel if by_kernel else self._update_on_lists
        update(columns, group, numbers)

    def _columns(self, weights: list[Tensor]) -> Columns:
        for p in weights:
            if "exp_avg" not in self.state[p]:
                for key in ("exp_avg", "exp_avg_sq"):
                    self.state[p][key] = zeros_for(p)
        m, v = ([self.state[p][key] for p in weights] for key in ("exp_avg", "exp_avg_sq"))
        return weights, [cast(Tensor, p.grad) for p in weights], m, v

    def _decay_in_gradients(self, group: dict[str, Any]) -> float:
        return 0.0 if self.decoupled else float(group["weight_decay"])

    def _update_by_kernel(self, columns: Columns, group: dict[str, Any], numbers: Numbers) -> None:
        from bittygpt.engine.kernels.adam import adam_

        if not isinstance(numbers, Tensor):
            numbers = torch.tensor(numbers).to(columns[0][0].device, non_blocking=True)
        decay = self._decay_in_gradients(group)
        adam_(self._table(columns), columns[0], numbers, group["betas"], group["eps"], decay)

    def _table(self, columns: Columns) -> Any:
        from bittygpt.engine.kernels.adam import Table

        tensors, first = list(zip(*columns, strict=True)), columns[0][0]
        table = self._tables.get(first)
        if table is None or not table.is_of(tensors):
            table = self._tables[first] = Table(tensors)
        return table

    def _update_on_lists(self, columns: Columns, group: dict[str, Any], numbers: Numbers) -> None:
        kept, step_size, root = map(float, numbers)
        betas, decay = group["betas"], self._decay_in_gradients(group)
        epsilon = group["eps"] * root
        if cpu.adam_(columns, kept, decay, betas, epsilon, step_size * root) is not None:
            return
        weights, grads, m, v = columns
        precise = m[0].dtype
        if weights[0].dtype != precise:
            grads = [grad.to(precise) for grad in grads]

        if kept != 1:
            scale_(weights, kept)
        if decay:
            grads = list(torch._foreach_add(grads, [p.to(precise) for p in weights], alpha=decay))
        torch._foreach_lerp_(m, grads, 1 - betas[0])
        torch._foreach_mul_(v, betas[1])
        torch._foreach_addcmul_(v, grads, grads, value=1 - betas[1])
        # sqrt(v / c) + eps = (sqrt(v) + eps sqrt(c)) / sqrt(c): the correction c costs no pass over the weights
        denominators = list(torch._foreach_sqrt(v))
        torch._foreach_add_(denominators, epsilon)
        torch._foreach_addcdiv_(weights, m, denominators, value=-step_size * root)

    def _kind(self, p: Tensor) -> Hashable:
        return p.dtype, p.device, self.state[p].get("step", 0)


class FusedAdamW(FusedAdam, AdamW):
    """The same with decay apart from the gradient."""


def kernel_suits(tensors: tuple[Tensor, ...]) -> bool:
    """Whether the kernel for a GPU is to update a weight: the first of these, beside its gradient and its means.

    Not so a part of a tensor that ranks share out (a DTensor): only PyTorch knows what of it lies where.
    """
    weight = tensors[0]
    if not work_on(weight):  # asked first: on a CPU that is all
        return False
    dense = all(is_plain(x) and x.shape == weight.shape and x.is_contiguous() for x in tensors)
    alike = all(x.device == weight.device and x.dtype != torch.float64 for x in tensors)
    return dense and alike and all(x.data_ptr() % ALIGNED == 0 for x in tensors)
