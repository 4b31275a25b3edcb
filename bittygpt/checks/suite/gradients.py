"""Checks that need no oracle: a gradient against finite differences, a fast path against its formula.

Both are asked of every part that the model calls, whatever parts these are, the smallest first.
"""

import math
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from bittygpt.checks.finding import (
    MODEL,
    Finding,
    Function,
    Named,
    accelerated,
    along_a_direction,
    check,
    differentiated,
    fast_equals_formula,
    file_of,
    function_of,
    gradients_of,
    number,
    size,
    value_and_gradients,
    worst_of,
)
from bittygpt.checks.subject import Subject
from bittygpt.core import IGNORE_INDEX

# The widest steps are for formulas that round to float32 inside, the narrow ones for those that bend sharply: one that
# finds the gradient is enough, as none would find a wrong one.
STEPS, DISAGREES = (1e-6, 1e-4, 1e-3, 1e-2), 1e-3


def finite_differences(function: Function, inputs: Mapping[str, Tensor], where: str = "") -> Finding:
    """Is what the value gains along a random direction what the gradient says? For each input, in float64.

    The difference is a share of the gradient's length, which is about what a random direction gains.
    """
    differentiated.append((function, inputs))
    try:
        return worst_of(_off(function, inputs, name, torch.float64, where) for name in inputs)
    except Exception:  # a formula that mixes precisions; any other error comes again
        return worst_of(_off(function, inputs, name, torch.float32, where) for name in inputs)


def _off(
    function: Function, inputs: Mapping[str, Tensor], name: str, dtype: torch.dtype, where: str
) -> Finding:
    named = {key: x.detach().to(dtype) for key, x in inputs.items()}
    x = named[name].requires_grad_()
    (gradient,) = gradients_of(function(named), [x])
    scale = 1 + x.detach().abs()
    along = scale * torch.randn(x.shape, generator=torch.Generator().manual_seed(2)).to(x)
    expected, length, share = (gradient * along).sum().item(), (gradient * scale).norm().item(), math.inf
    with torch.no_grad():
        for step in STEPS:
            up, down = (function({**named, name: x + sign * step * along}) for sign in (1, -1))
            gain = along_a_direction(up - down).item() / (2 * step)
            share = min(size(abs(gain - expected) / (max(length, abs(gain)) or 1.0)), share)
            if share <= DISAGREES:
                break
    wrong = f", by {name}{where}" * (not share <= DISAGREES)
    text = f"off by {number(share)} by finite differences (limit {number(DISAGREES)}){wrong}"
    return Finding(text, share, DISAGREES)


class Part(NamedTuple):
    """A part of the model, and what it was called with: numbers, which get a gradient, and then other things."""

    name: str
    module: nn.Module
    numbers: dict[str, Tensor]
    others: list[object]

    @property
    def inputs(self) -> dict[str, Tensor]:
        """All that gets a gradient."""
        return {**self.numbers, **dict(self.module.named_parameters())}

    def function(self, module: nn.Module) -> Function:
        """A module in its place, as a function of `inputs`."""
        return function_of(module, list(self.numbers), self.others)


def parts_of(subject: Subject) -> list[Part]:
    """One part of each class, in the order in which they are done: what a part is made of comes before it."""
    model, ids, targets = subject.model(lively=True), subject.ids(2), subject.ids(2)
    targets[0, 5:9] = IGNORE_INDEX
    found: dict[type[nn.Module], Part] = {}

    def keep(name: str, module: nn.Module, arguments: Any, named: object, result: object) -> None:
        if isinstance(result, Tensor) and not named:
            are_numbers = [isinstance(x, Tensor) and x.is_floating_point() for x in arguments]
            numbers = {f"x{n}": x for n, x in enumerate(arguments) if are_numbers[n]}
            others = [x for n, x in enumerate(arguments) if not are_numbers[n]]
            found.setdefault(type(module), Part(name, module, numbers, others))

    for name, module in model.named_modules():
        module.register_forward_hook(partial(keep, name), with_kwargs=True)
    model(ids, targets)
    for module in model.modules():
        module._forward_hooks.clear()
    return list(found.values())


@check("every gradient is that of its value", look_in="core/transformer.py", always=True)
def gradients_are_of_values(subject: Subject) -> Finding:
    """By finite differences, of the formulas: what autograd is told of a value (or not told) may be another's."""
    findings: list[Finding] = []
    for part in parts_of(subject):
        where = f" in {type(part.module).__name__} {part.name}".rstrip()
        finding = finite_differences(part.function(part.module), part.inputs, where)
        findings.append(replace(finding, look_in=file_of(part.module)))
        if not finding.is_right:
            break
    return worst_of(findings)


@check("fast paths equal formulas, gradients, too", look_in="engine/accelerate.py", always=True)
def fast_paths_equal_formulas(subject: Subject) -> Finding:
    """Part by part, so that the part at fault is named; the model, with its loss, comes last."""
    findings = []
    for part in parts_of(subject):

        def compute(module: nn.Module, part: Part = part) -> Named:
            return value_and_gradients(part.function(module), part.inputs)

        fast, own = accelerated(part.module), compute(part.module)
        findings.append(fast_equals_formula(compute, fast, own, MODEL))
        if not findings[-1].is_right:
            break
    return worst_of(findings)
