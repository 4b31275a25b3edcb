"""Main memory that a step has freed is kept for the next step, instead of being given back and asked for again."""

import ctypes
import sys

M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_THRESHOLD = -1, -2, -3  # of glibc's malloc.h
KEPT_BYTES = 1 << 30
LARGEST_KEPT = 32 << 20  # glibc's own limit; a larger block always comes from the system and goes back there


def keep_freed_memory() -> None:
    """Let the C library hold on to as much as a gigabyte of freed memory; does nothing where it is not glibc.

    A training step on a CPU makes and drops the same tensors as the step before. By default glibc gives what lies free
    at the end of its heap back to the system after each, and the system fills every page with zeros before it hands
    it out again: for a small model that takes more than a tenth of the step.
    """
    if sys.platform != "linux":
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(M_TRIM_THRESHOLD, KEPT_BYTES)
        mallopt(M_MMAP_THRESHOLD, LARGEST_KEPT)
        mallopt(M_TOP_PAD, LARGEST_KEPT)
