"""Adam's update of many tensors in one kernel: everything is read once, and what changes is written once.

    g <- g + l2 · w          m <- b1 m + (1 - b1) g          v <- b2 v + (1 - b2) g²
    w <- kept · w - lr / (1 - b1^t) · m / (sqrt(v) / sqrt(1 - b2^t) + eps)

28 bytes of traffic for each float32 weight, where an operation for each sign takes about 80, and nothing is kept in
between. To launch a kernel takes the CPU longer than a GPU takes for most tensors, so there is one launch for all: a
table on the device says where each tensor lies, and which of them a program works on. Kingma & Ba 2015, algorithm 1;
`kept` = 1 - lr · decay: Loshchilov & Hutter 2019, algorithm 2.
"""

from collections.abc import Sequence

import torch
import triton
import triton.language as tl
from torch import Tensor

BLOCK = 1024  # weights of one program
COLUMNS = 6  # of the table: addresses of weight, gradient and both means; number of weights; first program


@triton.jit
def adam_block(
    weights: tl.tensor,
    grads: tl.tensor,
    means: tl.tensor,
    squares: tl.tensor,
    numbers: tl.tensor,
    l2: tl.tensor,
    one_minus_beta1: tl.tensor,
    beta2: tl.tensor,
    one_minus_beta2: tl.tensor,
    eps: tl.tensor,
    inside: tl.tensor,
) -> None:
    """Some weights, those where `inside` is not False; the arithmetic is float32."""
    kept = tl.load(numbers)
    step_size = tl.load(numbers + 1)
    sqrt_correction = tl.load(numbers + 2)
    w = tl.load(weights, mask=inside).to(tl.float32)
    g = tl.load(grads, mask=inside).to(tl.float32)
    m = tl.load(means, mask=inside).to(tl.float32)
    v = tl.load(squares, mask=inside).to(tl.float32)

    g += l2 * w
    m += one_minus_beta1 * (g - m)
    v = beta2 * v + one_minus_beta2 * g * g
    denominator = (
        tl.div_rn(tl.sqrt_rn(v), sqrt_correction) + eps
    )  # rounded as PyTorch does: plain / and sqrt are less
    w = kept * w - step_size * tl.div_rn(m, denominator)

    tl.store(weights, w.to(weights.dtype.element_ty), mask=inside)
    tl.store(means, m.to(means.dtype.element_ty), mask=inside)
    tl.store(squares, v.to(squares.dtype.element_ty), mask=inside)


@triton.jit
def adam_kernel(
    table: tl.tensor,
    owners: tl.tensor,
    numbers: tl.tensor,
    l2: tl.tensor,
    one_minus_beta1: tl.tensor,
    beta2: tl.tensor,
    one_minus_beta2: tl.tensor,
    eps: tl.tensor,
    WEIGHT: tl.constexpr,
    GRAD: tl.constexpr,
    COLUMNS: tl.constexpr,
    BLOCK: tl.constexpr,
) -> None:
    """BLOCK weights of one of many contiguous tensors, whose weights and gradients are of these types."""
    program = tl.program_id(0)
    row = table + tl.load(owners + program).to(tl.int64) * COLUMNS
    # addresses are multiples of 16, and said to be, so that four float32 are read at once
    weights = tl.multiple_of(tl.load(row).to(tl.pointer_type(WEIGHT)), 16)
    grads = tl.multiple_of(tl.load(row + 1).to(tl.pointer_type(GRAD)), 16)
    means = tl.multiple_of(tl.load(row + 2).to(tl.pointer_type(tl.float32)), 16)
    squares = tl.multiple_of(tl.load(row + 3).to(tl.pointer_type(tl.float32)), 16)
    num_weights = tl.load(row + 4)
    first = (program - tl.load(row + 5)) * BLOCK
    index = first + tl.arange(0, BLOCK)
    weights, grads, means, squares = weights + index, grads + index, means + index, squares + index
    if first + BLOCK <= num_weights:
        adam_block(
            weights, grads, means, squares, numbers, l2, one_minus_beta1, beta2, one_minus_beta2, eps, None
        )
    else:
        inside = index < num_weights
        adam_block(
            weights, grads, means, squares, numbers, l2, one_minus_beta1, beta2, one_minus_beta2, eps, inside
        )


TYPES = {torch.float32: tl.float32, torch.bfloat16: tl.bfloat16, torch.float16: tl.float16}


class Table:
    """Where the tensors of an update lie: for each its weight, gradient and both means, all contiguous, of one shape.

    It holds addresses, not tensors: whoever keeps it asks `is_of` before it is used again.
    """

    def __init__(self, tensors: Sequence[tuple[Tensor, ...]]) -> None:
        self.addresses = _addresses(tensors)
        self.dtypes = tensors[0][0].dtype, tensors[0][1].dtype
        device = tensors[0][0].device
        rows: list[list[int]] = []
        owners: list[int] = []
        for number, (addresses, (weight, *_)) in enumerate(zip(self.addresses, tensors, strict=True)):
            rows.append([*addresses, weight.numel(), len(owners)])
            owners += [number] * triton.cdiv(weight.numel(), BLOCK)
        self.num_programs = len(owners)
        self.rows = torch.tensor(rows, dtype=torch.int64).to(device)
        self.owners = torch.tensor(owners, dtype=torch.int32).to(device)

    def is_of(self, tensors: Sequence[tuple[Tensor, ...]]) -> bool:
        """Whether it says where these lie."""
        return self.addresses == _addresses(tensors)


def _addresses(tensors: Sequence[tuple[Tensor, ...]]) -> list[tuple[int, ...]]:
    return [tuple(tensor.data_ptr() for tensor in each) for each in tensors]


def adam_(
    table: Table,
    weights: Sequence[Tensor],
    numbers: Tensor,
    betas: tuple[float, float],
    eps: float,
    l2: float,
) -> None:
    """A step of the tensors in a table, all of one type; weights and both means are updated in place.

    Args:
        table: where they lie.
        weights: those in the table.
        numbers: float32 on their device: 1 - lr · decay, lr / (1 - b1^t), sqrt(1 - b2^t).
        betas: b1 and b2.
        eps: as above.
        l2: as above.
    """
    beta1, beta2 = betas
    with torch.cuda.device_of(table.rows):  # Triton launches on the current device
        adam_kernel[(table.num_programs,)](
            table.rows,
            table.owners,
            numbers,
            # Numbers with a point, of which Triton never compiles one in: the same kernel serves all settings.
            l2=float(l2),
            one_minus_beta1=1.0 - beta1,
            beta2=float(beta2),
            one_minus_beta2=1.0 - beta2,
            eps=float(eps),
            WEIGHT=TYPES[table.dtypes[0]],
            GRAD=TYPES[table.dtypes[1]],
            COLUMNS=COLUMNS,
            BLOCK=BLOCK,
            num_warps=4,
        )
    # Triton writes behind autograd's back: told of it, a backward pass that still needs the old weights fails.
    torch.autograd.graph.increment_version(weights)
