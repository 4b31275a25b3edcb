"""What a check is, what its result is, and the comparisons that checks share."""

import copy
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar, cast

import torch
from torch import Tensor, nn

from bittygpt.engine.accelerate import accelerate
from bittygpt.engine.kernels.cpu import without_c

if TYPE_CHECKING:
    from bittygpt.checks.subject import Subject

# Largest difference, as a share of the largest entry, that rounding in float32 explains: within one part, and
# through all layers of a model and back.
PART, MODEL = 2e-5, 2e-4
T = TypeVar("T")
M = TypeVar("M", bound=nn.Module)
Named = dict[str, Tensor]
Pairs = dict[str, tuple[Tensor, Tensor]]
Function = Callable[[Named], Tensor]


class NotChecked(Exception):  # noqa: N818
    """Raised by a check that cannot be made here, with the reason."""


@dataclass(frozen=True)
class Finding:
    """The result of a check: a number, which is right if it is at most `limit`, and a text.

    `look_in` is where the mistake is to be sought, if the check knows better than its own `look_in`.
    """

    text: str
    value: float
    limit: float
    look_in: str = ""

    @property
    def is_right(self) -> bool:
        """Whether the number is within the limit; one that is none (NaN) is not."""
        return self.value <= self.limit


Measure = Callable[["Subject"], Finding]


@dataclass(frozen=True)
class Check:
    """One promise of the code.

    Attributes:
        name: a short name, for scripts.
        promise: what is checked, as a person says it.
        look_in: the file, below `bittygpt/`, in which the mistake is to be sought if the promise is broken.
        always: whether the promise holds whatever the formulas are; else it is that of the formulas as they were.
    """

    name: str
    promise: str
    look_in: str
    measure: Measure
    always: bool = False


def check(promise: str, look_in: str, always: bool = False) -> Callable[[Measure], Check]:
    """Make a check of the function below it, whose name becomes the check's."""
    return lambda measure: Check(measure.__name__.replace("_", "-"), promise, look_in, measure, always)


def difference(ours: Tensor, theirs: Tensor) -> float:
    """The largest difference between two tensors, as a share of the largest entry of the second; NaN counts.

    Raises:
        ValueError: their shapes differ.
    """
    if ours.shape != theirs.shape:
        raise ValueError(f"the shape is {tuple(ours.shape)} and should be {tuple(theirs.shape)}")
    if not theirs.numel():
        return 0.0
    scale = theirs.double().abs().max().item() or 1.0
    return (ours.double() - theirs.double()).abs().max().item() / scale


def equal(pairs: Mapping[str, tuple[Tensor, Tensor]], limit: float = PART, look_in: str = "") -> Finding:
    """Finds the largest difference among named pairs of ours and theirs."""
    differences = {name: difference(ours, theirs) for name, (ours, theirs) in pairs.items()}
    worst = max(differences, key=lambda name: size(differences[name]))
    value = differences[worst]
    where = "" if value <= limit else f", {worst}"
    return Finding(f"differs by {number(value)} (limit {number(limit)}){where}", value, limit, look_in)


def number(value: float) -> str:
    """As 4.2e-07, but a zero as 0."""
    return f"{value:.1e}".replace(".0e", "e") if value else "0"


def counted(wrong: int, of: int, what: str) -> Finding:
    """A finding that is right if none of `of` things is wrong."""
    return Finding(f"{wrong:,} of {of:,} {what} wrong (limit 0)", wrong, 0)


def worst_of(findings: Iterable[Finding]) -> Finding:
    """The finding that exceeds its limit most, in proportion."""
    return max(findings, key=lambda finding: size(finding.value) / (finding.limit or 1.0))


def size(value: float) -> float:
    """The value, or infinity for NaN, so that values can be compared."""
    return math.inf if math.isnan(value) else value


def value_and_gradients(function: Function, inputs: Mapping[str, Tensor]) -> Named:
    """The value of a function of named inputs, and its gradients along a fixed random direction."""
    differentiated.append((function, inputs))
    leaves = {name: x.detach().clone().requires_grad_() for name, x in inputs.items()}
    value = function(leaves)
    names, gradients = (f"gradient of {name}" for name in leaves), gradients_of(value, list(leaves.values()))
    return {"value": value.detach(), **dict(zip(names, gradients, strict=True))}


def gradients_of(value: Tensor, inputs: Sequence[Tensor]) -> Sequence[Tensor]:
    """The gradients of a value along the fixed direction; zeros where an input has no part in it."""
    along = along_a_direction(value) + sum(
        0 * x.sum() for x in inputs
    )  # so that there is something to go back
    return torch.autograd.grad(along, inputs)


differentiated: list[tuple[Function, Mapping[str, Tensor]]] = []
"""Every function whose gradients were asked for since the last check began."""


def along_a_direction(value: Tensor) -> Tensor:
    """The sum of a tensor's entries, each times a fixed random number."""
    return (value * torch.randn(value.shape, generator=torch.Generator().manual_seed(1)).to(value)).sum()


def paired(ours: Named, theirs: Named, where: str = "") -> Pairs:
    """Pairs of ours and theirs by name, with `where` added to the name."""
    return {f"{name}{where}": (ours[name], right) for name, right in theirs.items()}


def same(ours: Function, theirs: Function, inputs: Mapping[str, Tensor], limit: float = PART) -> Finding:
    """Compares two functions of named inputs: values and gradients."""
    return equal(paired(value_and_gradients(ours, inputs), value_and_gradients(theirs, inputs)), limit)


def ways(formula: T, fast: T) -> list[tuple[str, T, Callable[[], AbstractContextManager[None]]]]:
    """The formula, the fast path and the fast path without C, each with the context manager to use it in."""
    names, contexts = ("formula", "fast path", "fast path without C"), (nullcontext, nullcontext, without_c)
    return list(zip(names, (formula, fast, fast), contexts, strict=True))


def compare(compute: Callable[[T], Named], formula: T, fast: T, right: Named, limit: float = PART) -> Finding:
    """Compares a formula with the right result, and its fast path with the formula.

    A fast path that is at fault is so whatever its formula says, and is named with its own file.
    """
    own = compute(formula)
    found = equal(paired(own, right), limit)
    return worst_of([found, fast_equals_formula(compute, fast, own, limit)]) if found.is_right else found


def fast_equals_formula(compute: Callable[[T], Named], fast: T, own: Named, limit: float) -> Finding:
    """Compares a fast path, with C and without, with the results of its formula."""
    pairs: Pairs = {}
    for way, chosen, context in ways(fast, fast)[1:]:
        with context():
            pairs |= paired(compute(chosen), own, f" by the {way}")
    return equal(pairs, limit, file_of(fast))


def file_of(thing: object) -> str:
    """The file of a function, a class or an object's class, below `bittygpt/`."""
    found = thing if hasattr(thing, "__qualname__") else type(thing)
    return found.__module__.removeprefix("bittygpt.").replace(".", "/") + ".py"


def accelerated(module: M) -> M:
    """A copy of it with its fast paths."""
    return accelerate(copy.deepcopy(module))


def function_of(module: nn.Module, names: Sequence[str] = (), arguments: Sequence[object] = ()) -> Function:
    """A module as a function of its weights, by their names, and of the named inputs; `arguments` follow these."""

    def compute(named: Named) -> Tensor:
        weights = {name: x for name, x in named.items() if name not in names}
        values = (*(named[name] for name in names), *arguments)
        return cast(Tensor, torch.func.functional_call(module, weights, values))

    return compute


def module_equals(
    module: nn.Module,
    theirs: Function,
    limit: float = PART,
    arguments: Sequence[object] = (),
    **inputs: Tensor,
) -> Finding:
    """A module and its fast path against a function of the same weights (by their names) and inputs.

    `inputs` are those that get a gradient, in the order of the module's arguments; `arguments` follow them.
    """
    everything = {**inputs, **dict(module.named_parameters())}
    right = value_and_gradients(theirs, everything)

    def compute(which: nn.Module) -> Named:
        return value_and_gradients(function_of(which, list(inputs), arguments), everything)

    return compare(compute, module, accelerated(module), right, limit)
