"""The kernels of cpu.c, called with tensors. Each says there which formula of `core` it is the twin of.

Tensors are on the CPU, dense, and float32, or where it is said in the precision of products: float32 or bfloat16.
Shapes: N rows, D features, V vocabulary.
"""

import ctypes
import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from bittygpt.kernels.c_compiler import library


def work_in(precision: torch.dtype) -> bool:
    """Whether there are kernels for products in a precision; the first question may have them compiled."""
    return library(precision) is not None


def rms_norm(x: Tensor, gain_D: Tensor, eps: float, precision: torch.dtype) -> tuple[Tensor, Tensor]:
    """x (..., D) -> gain · x r in that precision, and r (..., 1)."""
    _must(gain_D.shape == x.shape[-1:], x, gain_D)
    y, inverse_rms = torch.empty_like(x, dtype=precision), x.new_empty(*x.shape[:-1], 1)
    _run("rms_norm", precision, inverse_rms.numel(), x.shape[-1], x, gain_D, eps, y, inverse_rms)
    return y, inverse_rms


def rms_norm_gradients(
    dy: Tensor, x: Tensor, inverse_rms: Tensor, gain_D: Tensor, beside: Tensor | None
) -> tuple[Tensor, Tensor]:
    """dy (precision of products), x and beside (..., D), r (..., 1) -> the gradients of x and of the gain."""
    rows_agree = dy.shape == x.shape and inverse_rms.shape == (*x.shape[:-1], 1)
    beside_agrees = beside is None or beside.shape == x.shape
    _must(rows_agree and beside_agrees and gain_D.shape == x.shape[-1:], dy, x, inverse_rms, gain_D)
    dx, dgain_D = torch.empty_like(x), torch.empty_like(gain_D)
    partial = x.new_empty(_threads(dy.dtype), x.shape[-1])
    inputs = dy, x, inverse_rms, gain_D, beside
    _run("rms_norm_gradients", dy.dtype, inverse_rms.numel(), x.shape[-1], *inputs, dx, dgain_D, partial)
    return dx, dgain_D


def turn_heads(x_BTHd: Tensor, turns_TP: Tensor, back: bool, out: Tensor) -> Tensor:
    """RoPE on all heads, dense; a row of the table, dense complex64, may be for more heads than these."""
    num_sequences, length, *head = x_BTHd.shape
    width, stride = math.prod(head), 2 * turns_TP.shape[1]
    is_table = turns_TP.is_contiguous() and turns_TP.shape[0] == length and width <= stride
    _must(is_table and out.shape == x_BTHd.shape, x_BTHd, turns_TP, out)
    sizes = num_sequences * length, width, length, stride
    _run("turn", torch.float32, *sizes, x_BTHd, turns_TP, -1.0 if back else 1.0, out)
    return out


def swiglu(gate: Tensor, up: Tensor) -> Tensor:
    """silu(gate) · up, all in the precision of products."""
    _must(gate.shape == up.shape, gate, up)
    y = torch.empty_like(gate)
    _run("swiglu", gate.dtype, gate.numel(), gate, up, y)
    return y


def swiglu_gradients(dy: Tensor, gate: Tensor, up: Tensor) -> tuple[Tensor, Tensor]:
    """Those of gate and up, all in the precision of products; dy may be overwritten."""
    _must(dy.shape == gate.shape == up.shape, dy, gate, up)
    dgate, dup = torch.empty_like(gate), dy
    _run("swiglu_gradients", gate.dtype, gate.numel(), dy, gate, up, dgate, dup)
    return dgate, dup


def losses_and_gradients_(logits_NV: Tensor, targets_N: Tensor, ignore_index: int, gradients: bool) -> Tensor:
    """The losses (N,) of logits in the precision of products, and with `gradients` their sum's over the logits.

    Raises:
        IndexError: a target that is none of the V.
    """
    targets_N = targets_N.contiguous()
    _must(targets_N.dtype == torch.int64 and targets_N.shape == logits_NV.shape[:1], logits_NV, targets_N)
    losses_N = torch.empty_like(targets_N, dtype=torch.float32)
    arguments = logits_NV, targets_N, ignore_index, gradients, losses_N
    wrong = _run("losses_and_gradients", logits_NV.dtype, *logits_NV.shape, *arguments)
    if wrong >= 0:
        raise IndexError(f"target {targets_N[wrong].item()} is none of the {logits_NV.shape[1]} tokens")
    return losses_N


def norm(tensors: Sequence[Tensor]) -> float:
    """The length of all of them as one vector."""
    partial = tensors[0].new_empty(_threads(torch.float32), dtype=torch.float64)
    return math.sqrt(_run("sum_of_squares", torch.float32, *_table(tensors), _sizes(tensors), partial))


def scale_(tensors: Sequence[Tensor], factor: float) -> None:
    """All of them times a number, in place."""
    _run("scale", torch.float32, *_table(tensors), _sizes(tensors), factor)
    torch.autograd.graph.increment_version(tensors)


def adam_(
    columns: Sequence[Sequence[Tensor]],
    kept: float,
    decay: float,
    betas: tuple[float, float],
    epsilon: float,
    step_size: float,
) -> None:
    """A step of weights, in place; `columns` are they, their gradients, and their means of gradient and square."""
    weights = columns[0]
    for row in zip(*columns, strict=True):
        _must(all(x.shape == row[0].shape for x in row), *row)
    addresses = [_table(column)[1] for column in columns]
    beta1, beta2 = betas
    rates = 1 - beta1, beta2, 1 - beta2  # subtracted here, in float64
    numbers = kept, decay, *rates, epsilon, step_size
    _run("adam", torch.float32, len(weights), *addresses, _sizes(weights), *numbers)
    # done behind autograd's back: told of it, a backward pass that still needs the old weights fails
    torch.autograd.graph.increment_version(weights)


def _must(shapes_agree: bool, *tensors: Tensor) -> None:
    """C would read whatever lies behind a tensor that is too small.

    Raises:
        ValueError: they do not.
    """
    if not shapes_agree:
        shown = ", ".join(f"{tuple(x.shape)} {x.dtype}" for x in tensors)
        raise ValueError(f"shapes or types that do not go together: {shown}")


def _threads(precision: torch.dtype) -> int:
    """How many may take part in a call."""
    return int(_run("threads", precision))


def _table(tensors: Sequence[Tensor]) -> tuple[int, object]:
    """How many there are, and where each lies."""
    return len(tensors), (ctypes.c_void_p * len(tensors))(*(x.data_ptr() for x in tensors))


def _sizes(tensors: Sequence[Tensor]) -> object:
    return (ctypes.c_int64 * len(tensors))(*(x.numel() for x in tensors))


def _run(name: str, precision: torch.dtype, *arguments: object) -> Any:
    """Call a kernel; a tensor is handed over as the address of its first number."""
    kernel = getattr(library(precision), name)
    return kernel(*(x.data_ptr() if isinstance(x, Tensor) else x for x in arguments))
