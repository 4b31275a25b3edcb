"""The kernels of cpu.c, called with tensors. Each says there which formula of `core` it computes.

Each gives None, having done nothing, where it cannot compute: there is no C compiler, or an operand is not what the
kernel reads. Shapes: N rows, D features, V vocabulary.
"""

import ctypes
import functools
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, ParamSpec, TypeVar

import torch
from torch import Tensor

from bittygpt.engine.dispatch import PLAIN_TYPES, runs_eagerly
from bittygpt.engine.kernels.c_compiler import library

F32, F64, INT64, STRIDED = torch.float32, torch.float64, torch.int64, torch.strided
P = ParamSpec("P")
R = TypeVar("R")
Operand = tuple[Tensor | None, torch.dtype, Sequence[int]]
"""A tensor, and the dtype and shape that a kernel takes it for; None is a null pointer."""

_are_off = False


class DoesNotFit(Exception):  # noqa: N818
    """An operand cannot be read by a kernel."""


@contextmanager
def without_c() -> Iterator[None]:
    """Within it PyTorch's operations compute what cpu.c would: as where there is no C compiler."""
    global _are_off
    before, _are_off = _are_off, True
    try:
        yield
    finally:
        _are_off = before


def work_in(precision: torch.dtype) -> bool:
    """Whether there are kernels for products in a precision. The first call may compile them."""
    return not _are_off and library(precision) is not None


def address(x: Tensor, dtype: torch.dtype, shape: Sequence[int]) -> int:
    """The address of a tensor's first element. No other function hands memory to C.

    Raises:
        DoesNotFit: it is not dense numbers of that dtype in that shape, in main memory.
    """
    # `is_plain` written out: a step of the optimizer asks some hundred times (a tensor on the CPU is not meta)
    if (
        x.dtype is dtype
        and x.shape == shape
        and type(x) in PLAIN_TYPES
        and x.layout is STRIDED
        and x.is_cpu
        and not x.is_neg()
        and x.is_contiguous()
    ):
        return x.data_ptr()
    raise DoesNotFit


def run(name: str, precision: torch.dtype, *arguments: Operand | Any) -> Any:
    """Call a kernel for products in a precision, after all operands were checked.

    Raises:
        DoesNotFit: one of them cannot be read, or there is no such kernel.
    """
    if _are_off or not runs_eagerly() or (kernels := library(precision)) is None:
        raise DoesNotFit
    values = [
        (None if x[0] is None else address(*x)) if type(x) is tuple else x  # an operand, or a number
        for x in arguments
    ]
    return getattr(kernels, name)(*values)


def addresses(tensors: Sequence[Tensor], like: Sequence[Tensor]) -> object:
    """The addresses of float32 tensors as a C array; each has the shape of its counterpart in `like`.

    Raises:
        DoesNotFit: as `address`.
    """
    each = [address(x, F32, other.shape) for x, other in zip(tensors, like, strict=True)]
    return (ctypes.c_void_p * len(tensors))(*each)


def sizes(tensors: Sequence[Tensor]) -> object:
    """The numbers of elements as a C array."""
    return (ctypes.c_int64 * len(tensors))(*(x.numel() for x in tensors))


def none_unless_it_fits(kernel: Callable[P, R]) -> Callable[P, R | None]:
    """Makes a kernel return None instead of raising DoesNotFit."""

    @functools.wraps(kernel)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> R | None:
        try:
            return kernel(*args, **kwargs)
        except DoesNotFit:
            return None

    return wrapper


@none_unless_it_fits
def rms_norm(x: Tensor, gain_D: Tensor, eps: float, precision: torch.dtype) -> tuple[Tensor, Tensor]:
    """x (..., D) float32 -> gain · x r in that precision, and r (..., 1)."""
    width = x.shape[-1]
    y, r = torch.empty_like(x, dtype=precision), x.new_empty(*x.shape[:-1], 1)
    outputs = (y, precision, x.shape), (r, F32, r.shape)
    run("rms_norm", precision, r.numel(), width, (x, F32, x.shape), (gain_D, F32, (width,)), eps, *outputs)
    return y, r


@none_unless_it_fits
def rms_norm_gradients(
    dy: Tensor, x: Tensor, inverse_rms: Tensor, gain_D: Tensor, beside: Tensor | None
) -> tuple[Tensor, Tensor]:
    """dy (precision of products), x and beside (..., D), r (..., 1) -> the gradients of x and of the gain."""
    shape, width = x.shape, x.shape[-1]
    partial = x.new_empty(run("threads", dy.dtype), width)
    dx, dgain_D = torch.empty_like(x), torch.empty_like(gain_D)
    rows = (dy, dy.dtype, shape), (x, F32, shape), (inverse_rms, F32, (*shape[:-1], 1))
    gain, added = (gain_D, F32, (width,)), (beside, F32, shape)
    outputs = (dx, F32, shape), (dgain_D, F32, (width,)), (partial, F32, partial.shape)
    run("rms_norm_gradients", dy.dtype, inverse_rms.numel(), width, *rows, gain, added, *outputs)
    return dx, dgain_D


@none_unless_it_fits
def rotate(x_BTHd: Tensor, cos_sin: Tensor, back: bool, out: Tensor) -> Tensor:
    """RoPE on all heads (B, T, H, d) float32 by the angles (T, d/2, 2), or back; `out` may be x."""
    batch, length, heads, head_dim = x_BTHd.shape
    counts = batch * length, heads, head_dim // 2, length
    operands = (x_BTHd, F32, x_BTHd.shape), (cos_sin, F32, (length, head_dim // 2, 2))
    run("rotate", F32, *counts, *operands, -1.0 if back else 1.0, (out, F32, x_BTHd.shape))
    return out


@none_unless_it_fits
def swiglu(gate: Tensor, up: Tensor) -> Tensor:
    """silu(gate) · up, all in the precision of products."""
    y, kind = torch.empty_like(gate), (gate.dtype, gate.shape)
    run("swiglu", gate.dtype, gate.numel(), (gate, *kind), (up, *kind), (y, *kind))
    return y


@none_unless_it_fits
def swiglu_gradients(dy: Tensor, gate: Tensor, up: Tensor) -> tuple[Tensor, Tensor]:
    """Those of gate and up, all in the precision of products; dy may be overwritten."""
    dgate, kind = torch.empty_like(gate), (gate.dtype, gate.shape)
    operands = ((x, *kind) for x in (dy, gate, up, dgate, dy))
    run("swiglu_gradients", gate.dtype, gate.numel(), *operands)
    return dgate, dy


@none_unless_it_fits
def losses_and_gradients_(logits_NV: Tensor, targets_N: Tensor, ignore_index: int, gradients: bool) -> Tensor:
    """The losses (N,) of logits in the precision of products, and with `gradients` their sum's over the logits.

    Raises:
        IndexError: a target that is none of the V.
    """
    precision, (rows, vocab_size) = logits_NV.dtype, logits_NV.shape
    targets_N = targets_N.contiguous()
    losses_N = torch.empty_like(targets_N, dtype=F32)
    inputs = (logits_NV, precision, logits_NV.shape), (targets_N, INT64, (rows,))
    settings = ignore_index, gradients, (losses_N, F32, (rows,))
    wrong = run("losses_and_gradients", precision, rows, vocab_size, *inputs, *settings)
    if wrong >= 0:
        raise IndexError(f"target {targets_N[wrong].item()} is none of the {vocab_size} tokens")
    return losses_N


@none_unless_it_fits
def clip_(tensors: Sequence[Tensor], max_norm: float) -> float:
    """The length of all as one vector; where it is more than a positive `max_norm`, they are shortened to it."""
    partial = tensors[0].new_empty(run("threads", F32), dtype=F64)
    vector = len(tensors), addresses(tensors, tensors), sizes(tensors)
    length = math.sqrt(run("sum_of_squares", F32, *vector, (partial, F64, partial.shape)))
    factor = max_norm / (length + 1e-6)
    if max_norm > 0 and not factor >= 1:  # a NaN, too, as by the formula
        run("scale", F32, *vector, factor)
        torch.autograd.graph.increment_version(tensors)
    return length


@none_unless_it_fits
def adam_(
    columns: Sequence[Sequence[Tensor]],
    kept: float,
    decay: float,
    betas: tuple[float, float],
    epsilon: float,
    step_size: float,
) -> bool:
    """A step of weights, in place; `columns` are they, their gradients, and their means of gradient and square."""
    weights, (beta1, beta2) = columns[0], betas
    rates = 1 - beta1, beta2, 1 - beta2  # subtracted here, in float64
    tables = (addresses(column, weights) for column in columns)
    run("adam", F32, len(weights), *tables, sizes(weights), kept, decay, *rates, epsilon, step_size)
    # done behind autograd's back: told of it, a backward pass that still needs the old weights fails
    torch.autograd.graph.increment_version(weights)
    return True
