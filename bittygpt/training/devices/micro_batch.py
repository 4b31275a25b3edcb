"""How many sequences go through the model at once: as many as fit, which only a trial can tell."""

from collections.abc import Callable, Sequence
from functools import partial

import torch

from bittygpt.training.devices.memory import is_out_of_memory


def largest_that_fits(
    sizes: Sequence[int], try_it: Callable[[int], None], agree: Callable[[bool], bool]
) -> int:
    """The first of the sizes, ordered from the greatest, that `try_it` takes without running out of memory.

    `agree` tells whether it went well on all ranks, and all go on to the next size otherwise. The last size is taken
    untried: there is none after it.
    """
    for size in sizes[:-1]:
        if agree(fits_in_memory(partial(try_it, size))):
            return size
        torch.compiler.reset()  # compiled again for the next size, not for any size
    return sizes[-1]


def fits_in_memory(action: Callable[[], None]) -> bool:
    """Do it; False when memory ran out, with all given back that it took."""
    try:
        action()
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
    else:
        return True
    if torch.cuda.is_available():  # after the handler, as the error holds what its frames held
        torch.cuda.empty_cache()
    return False


def next_smaller(size: int, sequences: int) -> int | None:
    """The greatest divisor of `sequences` that is at most half of `size`; None when there is none."""
    return next((half for half in range(size // 2, 0, -1) if sequences % half == 0), None)
