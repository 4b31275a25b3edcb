"""The one place that chooses between a formula and its faster twin.

A twin computes what its formula computes, in fewer passes over memory and with a backward pass written by hand. It
stands beside the formula in the same file, and tests hold the two together. `torch.compile` gets the formulas: it
fuses them itself, for the device at hand. What it does not fuse well has a twin in `kernels`, compiled or not.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from bittygpt.kernels import cpu, work_on

_formulas_alone = _without_c = False


def use_twin() -> bool:
    """Whether the twin is to compute."""
    return not (_formulas_alone or torch.compiler.is_compiling())


def use_kernel(tensor: Tensor) -> bool:
    """Whether a kernel from `kernels` is to compute, on this tensor's device."""
    return not _formulas_alone and work_on(tensor)


def use_c(precision: torch.dtype, float32: Sequence[Tensor] = (), products: Sequence[Tensor] = ()) -> bool:
    """Whether a kernel from kernels/cpu.c is to compute, on these tensors: of float32, of that precision of products.

    It goes by addresses: not for tensors of other kinds, which may have none (a FakeTensor) or not all (a DTensor).
    """
    return (
        use_twin()
        and not _without_c
        and all(is_plain(x, torch.float32) for x in float32)
        and all(is_plain(x, precision) for x in products)
        and cpu.work_in(precision)
    )


def is_plain(x: Tensor, dtype: torch.dtype) -> bool:
    """Whether it is a tensor like any other, on the CPU, dense, of a type."""
    return x.is_cpu and x.dtype == dtype and type(x) in (Tensor, nn.Parameter) and x.is_contiguous()


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


@contextmanager
def without_c() -> Iterator[None]:
    """Within it PyTorch's operations compute what kernels/cpu.c would: as where there is no C compiler."""
    global _without_c
    before, _without_c = _without_c, True
    try:
        yield
    finally:
        _without_c = before


def call(twin: type[torch.autograd.Function], *arguments: Any) -> Tensor:
    """`twin.apply`, with a type."""
    result: Tensor = twin.apply(*arguments)
    return result
