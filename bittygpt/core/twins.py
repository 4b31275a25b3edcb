"""The one place that chooses between a formula and its faster twin.

A twin computes what its formula computes, in fewer passes over memory and with a backward pass written by hand. It
stands beside the formula in the same file, and tests hold the two together. `torch.compile` gets the formulas: it
fuses them itself, for the device at hand. What it does not fuse well has a twin in `kernels`, compiled or not.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from bittygpt.kernels import work_on

_formulas_alone = False


def use_twin() -> bool:
    """Whether the twin is to compute."""
    return not (_formulas_alone or torch.compiler.is_compiling())


def use_kernel(tensor: Tensor) -> bool:
    """Whether a kernel from `kernels` is to compute, on this tensor's device."""
    return not _formulas_alone and work_on(tensor)


def formulas_are_alone() -> bool:
    """Whether the formula is to compute even where no compiler would fuse it: attention's, that is."""
    return _formulas_alone


@contextmanager
def formulas_alone() -> Iterator[None]:
    """Within it everything is computed by the formulas: to compare, or to see what the twins gain."""
    global _formulas_alone
    before, _formulas_alone = _formulas_alone, True
    try:
        yield
    finally:
        _formulas_alone = before


def call(twin: type[torch.autograd.Function], *arguments: Any) -> Tensor:
    """`twin.apply`, with a type."""
    result: Tensor = twin.apply(*arguments)
    return result
