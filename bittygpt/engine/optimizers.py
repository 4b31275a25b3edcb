"""The optimizers over lists of weights: a call for each alone takes longer than its sums.

An update takes what changes from step to step as `Numbers`: floats, or where it is captured in a CUDA graph and
replayed with other ones (`cuda_graphs.py`), a float32 vector of them on the device.
"""

import math
from collections.abc import Callable, Hashable, Iterator, Sequence
from typing import Any, cast

import torch
from torch import Tensor

from bittygpt.core import SGD, Adam, AdamW, Muon
from bittygpt.core.activations import upcast
from bittygpt.core.muon import orthogonalize
from bittygpt.core.optimizer import Optimizer, zeros_for
from bittygpt.engine.dispatch import is_plain
from bittygpt.engine.formulas import Proof
from bittygpt.engine.kernels import cpu, work_on

Numbers = Sequence[float] | Tensor
Columns = tuple[list[Tensor], list[Tensor], list[Tensor], list[Tensor]]  # weights, gradients, and both means
BASE = (
    "optimizer.py:Optimizer",
    "optimizer.py:Optimizer.step",
    "optimizer.py:Optimizer.add_param_group",
    "optimizer.py:zeros_for",
    "activations.py:upcast",
)
ALIGNED = 16  # bytes, of which the kernel for a GPU reads as many at once


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
        if not self.proof.holds():
            return super().step(closure)
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for weights, group in self.parts():
            self.update_list(weights, group, self.next_numbers(weights, group))
        return loss

    def parts(self) -> Iterator[tuple[list[Tensor], dict[str, Any]]]:
        """Weights that are updated by the same calls, and their group's settings."""
        for group in self.param_groups:
            alike: dict[Hashable, list[Tensor]] = {}
            for p in group["params"]:
                if p.grad is not None:
                    alike.setdefault(self._kind(p), []).append(p)
            for weights in alike.values():
                yield weights, group

    def lasting(self) -> list[object]:
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

    def lasting(self) -> list[object]:
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
        """One step of weights of one kind: on a GPU all that suit it by one kernel, else on lists."""
        columns = self._columns(weights)
        suited = [kernel_suits(tensors) for tensors in zip(*columns, strict=True)]
        for update, wanted in ((self._update_by_kernel, True), (self._update_on_lists, False)):
            if wanted in suited:
                pick = [
                    [x for x, suits in zip(column, suited, strict=True) if suits is wanted]
                    for column in columns
                ]
                update(cast(Columns, tuple(pick)), group, numbers)

    def _columns(self, weights: list[Tensor]) -> Columns:
        for p in weights:
            if "exp_avg" not in self.state[p]:
                for key in ("exp_avg", "exp_avg_sq"):
                    self.state[p][key] = zeros_for(p)
        means = ([self.state[p][key] for p in weights] for key in ("exp_avg", "exp_avg_sq"))
        m, v = means
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


def scale_(weights: list[Tensor], factor: float | Tensor) -> None:
    """Weights times a factor; in bfloat16 one by one, as on lists PyTorch rounds the factor, mostly to 1."""
    if weights[0].dtype.itemsize >= 4:
        torch._foreach_mul_(weights, factor)
    else:
        for weight in weights:
            weight.mul_(factor)


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


class FusedMuon(FusedOptimizer, Muon):
    """Matrices of one shape stacked: one product for all of them keeps a device busy."""

    proof = Proof("muon.py:Muon", "muon.py:Muon.update", *BASE)
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


class FusedSGD(FusedOptimizer, SGD):
    """By PyTorch's calls on lists."""

    proof = Proof("sgd.py:SGD", "sgd.py:SGD.update", *BASE)

    def next_numbers(self, _weights: list[Tensor], group: dict[str, Any]) -> list[float]:
        """The learning rate."""
        return [group["lr"]]

    def update_list(self, weights: list[Tensor], group: dict[str, Any], numbers: Numbers) -> None:
        """The formula, on all of them at once."""
        (lr,) = numbers
        updates = [upcast(p.grad) for p in weights if p.grad is not None]
        if group["weight_decay"]:
            updates = list(torch._foreach_add(updates, weights, alpha=group["weight_decay"]))
        if group["momentum"]:
            momentum = [self.state[p].setdefault("momentum_buffer", zeros_for(p)) for p in weights]
            torch._foreach_mul_(momentum, group["momentum"])
            torch._foreach_add_(momentum, updates)
            updates = momentum
        torch._foreach_add_(weights, updates, alpha=-float(lr))


FUSED: dict[type[Optimizer], type[Optimizer]] = {
    Adam: FusedAdam,
    AdamW: FusedAdamW,
    Muon: FusedMuon,
    SGD: FusedSGD,
}


def fused(kind: type[Optimizer]) -> type[Optimizer]:
    """The fast path of an optimizer's class; the class itself, where it has none."""
    return FUSED.get(kind, kind)
