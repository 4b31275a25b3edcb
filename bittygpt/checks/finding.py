"""What a check is, what it finds, and the ways of comparing that all checks share."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from bittygpt.core.twins import formulas_alone, without_c

if TYPE_CHECKING:
    from bittygpt.checks.subject import Subject

# Largest difference, as a share of the largest entry, that rounding in float32 explains: within one part, and
# through all layers of a model and back.
PART, MODEL = 2e-5, 2e-4
FORMS: dict[str, Callable[[], AbstractContextManager[None]]] = {
    "twins": nullcontext,
    "twins without C": without_c,
    "formulas": formulas_alone,
}


class NotChecked(Exception):  # noqa: N818
    """Raised by a check that cannot be made here; says why."""


@dataclass(frozen=True)
class Finding:
    """What came out: a number, which is right if it is at most `limit`, and a text that says so.

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


@dataclass(frozen=True)
class Check:
    """One promise of the code.

    Attributes:
        name: a short name, for scripts.
        promise: what is checked, as a person says it.
        look_in: the file, below `bittygpt/`, in which the mistake is to be sought if the promise is broken.
    """

    name: str
    promise: str
    look_in: str
    measure: Callable[["Subject"], Finding]


def check(promise: str, look_in: str) -> Callable[[Callable[["Subject"], Finding]], Check]:
    """Make a check of the function below it, whose name becomes the check's."""
    return lambda measure: Check(measure.__name__.replace("_", "-"), promise, look_in, measure)


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
    """None of `of` things may be wrong."""
    return Finding(f"{wrong:,} of {of:,} {what} wrong (limit 0)", wrong, 0)


def worst_of(findings: Iterable[Finding]) -> Finding:
    """The finding that is furthest from right, in proportion to its limit."""
    return max(findings, key=lambda finding: size(finding.value) / (finding.limit or 1.0))


def size(value: float) -> float:
    """The value, infinite where it is no number, so that it can be compared."""
    return math.inf if math.isnan(value) else value


Named = dict[str, Tensor]
Pairs = dict[str, tuple[Tensor, Tensor]]


def value_and_gradients(function: Callable[[Named], Tensor], inputs: Mapping[str, Tensor]) -> Named:
    """What a function makes of named inputs, and the gradients that a fixed random direction sends back to them."""
    leaves = {name: x.detach().clone().requires_grad_() for name, x in inputs.items()}
    value = function(leaves)
    direction = torch.randn(value.shape, generator=torch.Generator().manual_seed(1)).to(value)
    gradients = torch.autograd.grad(
        (value * direction).sum(), list(leaves.values()), allow_unused=True, materialize_grads=True
    )
    named = {f"gradient of {name}": gradient for name, gradient in zip(leaves, gradients, strict=True)}
    return {"value": value.detach(), **named}


def paired(ours: Named, theirs: Named, where: str = "") -> Pairs:
    """Each of theirs beside ours of the same name, to which `where` is added."""
    return {f"{name}{where}": (ours[name], right) for name, right in theirs.items()}


def same_in_all_forms(
    ours: Callable[[Named], Tensor],
    theirs: Callable[[Named], Tensor],
    inputs: Mapping[str, Tensor],
    limit: float = PART,
) -> Finding:
    """Ours with the faster twins, with those in PyTorch's operations, and by the formulas alone, against theirs."""
    pairs: Pairs = {}
    for form, chosen in FORMS.items():
        with chosen():
            expected = value_and_gradients(theirs, inputs)  # which may have parts of ours in it
            pairs |= paired(value_and_gradients(ours, inputs), expected, f" by the {form}")
    return equal(pairs, limit)


def module_equals(
    module: nn.Module,
    theirs: Callable[[Named], Tensor],
    limit: float = PART,
    arguments: Sequence[Tensor] = (),
    **inputs: Tensor,
) -> Finding:
    """A module against a function of the same weights (by their names) and inputs, in all forms.

    `inputs` are those that get a gradient, in the order of the module's arguments; `arguments` follow them.
    """

    def ours(named: Named) -> Tensor:
        weights = {name: x for name, x in named.items() if name not in inputs}
        values = tuple(named[name] for name in inputs)
        result: Tensor = torch.func.functional_call(module, weights, (*values, *arguments))
        return result

    return same_in_all_forms(ours, theirs, {**inputs, **dict(module.named_parameters())}, limit)
