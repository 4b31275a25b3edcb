"""Products of rows and a matrix whose bits do not depend on how many rows there are.

A library chooses by the shape how it multiplies: one row by another routine than eight, and a long sum in one piece or
in two. The last bits then differ; and where two tokens are about as likely, a text would depend on its batch. So rows
are multiplied in blocks of a few, always as many, or in larger blocks where a trial has shown that these give the same
bits: the additions of a product are ordered by its shape alone, not by its numbers.

Shapes: R rows, K features in, N features out.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

BLOCK = {"cpu": 2}  # a CPU takes about as long for one row
BLOCK_ELSEWHERE = 32  # and a GPU of so many
COLUMNS = 16  # float32 numbers that a vector instruction takes, of which a row is to be a multiple


def block_of(device: torch.device) -> int:
    """How many rows the smallest product has on a device."""
    return BLOCK.get(device.type, BLOCK_ELSEWHERE)


def whole_columns(weight_KN: Tensor) -> Tensor:
    """The weight with columns of zeros behind: rows that end within a vector are multiplied in different ways."""
    return F.pad(weight_KN, (0, -weight_KN.shape[1] % COLUMNS))


class RowProducts:
    """The products of one model, whose shapes are each tried once.

    Args:
        max_rows: the most that will come at once.
    """

    def __init__(self, max_rows: int, device: torch.device) -> None:
        self._max_rows, self._block = max_rows, block_of(device)
        self._at_once: dict[tuple[int, ...], dict[int, int]] = {}

    def __call__(self, x_RK: Tensor, weight_KN: Tensor, out_RN: Tensor) -> Tensor:
        """x (R, K), R a multiple of the device's block, times a weight (K, N), into `out_RN`, which is given back."""
        count = x_RK.shape[0]  # `len` takes as long as some operations
        if count == self._block:
            return torch.mm(x_RK, weight_KN, out=out_RN)
        shape = tuple(weight_KN.shape)
        if shape not in self._at_once:
            self._at_once[shape] = _rows_at_once(weight_KN, self._max_rows)
        return multiply_in_blocks(x_RK, weight_KN, self._at_once[shape][count], out_RN)


def multiply_in_blocks(x_RK: Tensor, weight_KN: Tensor, size: int, out_RN: Tensor) -> Tensor:
    """x (R, K) times a weight (K, N), `size` rows at a time, into `out_RN`."""
    if size == x_RK.shape[0]:
        return torch.mm(x_RK, weight_KN, out=out_RN)
    for rows, out in zip(x_RK.split(size), out_RN.split(size), strict=True):
        torch.mm(rows, weight_KN, out=out)
    return out_RN


def _rows_at_once(weight_KN: Tensor, max_rows: int) -> dict[int, int]:
    """For each number of rows, in how large blocks they can be multiplied with the bits of the smallest ones."""
    block = block_of(weight_KN.device)
    counts = range(block, max(block, max_rows) + block, block)
    any_RK, any_KN = _numbers_that_cancel(counts[-1], weight_KN)
    expected, found = (any_RK.new_empty(len(any_RK), weight_KN.shape[1]) for _ in range(2))
    multiply_in_blocks(any_RK, any_KN, block, expected)

    def is_as_expected(count: int, size: int) -> bool:
        multiply_in_blocks(any_RK[:count], any_KN, size, found[:count])
        return torch.equal(found[:count], expected[:count])

    return {
        count: next(
            (
                size
                for size in (count, 64, 32, 16, 8)
                if block < size <= count and is_as_expected(count, size)
            ),
            block,
        )
        for count in counts
    }


def _numbers_that_cancel(rows: int, weight_KN: Tensor) -> tuple[Tensor, Tensor]:
    """x (R, K) and a weight (K, N) as if made to show another order of additions.

    Of very different sizes, and each term of a sum stands in it once more with the other sign, somewhere else: what is
    left is nothing but what was lost by rounding. Of ordinary numbers the sum, rounded to bfloat16, would hide that.
    """
    generator = torch.Generator(weight_KN.device).manual_seed(0)
    features = len(weight_KN)
    x_RK, w_KN = (
        weight_KN.new_empty(shape).normal_(generator=generator)
        for shape in ((rows, features), weight_KN.shape)
    )
    x_RK *= x_RK.abs() ** 3
    one, other = torch.randperm(features, generator=generator, device=weight_KN.device).chunk(2)
    one = one[: len(other)]
    w_KN[other], x_RK[:, other] = w_KN[one], -x_RK[:, one]
    return x_RK, w_KN
