"""Host memory for training: what a step frees is kept for the next step, in large pages."""

import ctypes
import mmap
import sys

M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_THRESHOLD = -1, -2, -3  # of glibc's malloc.h
KEPT_BYTES = 1 << 30
LARGEST_KEPT = 32 << 20  # glibc's own limit; a larger block always comes from the system and goes back there
LARGE_PAGE = 2 << 20


def keep_freed_memory() -> None:
    """Let the C library hold on to as much as a gigabyte of freed memory; does nothing where it is not glibc.

    A training step on a CPU makes and drops the same tensors as the step before. By default glibc gives what lies free
    at the end of its heap back to the system after each, and the system fills every page with zeros before it hands
    it out again: for a small model that takes more than a tenth of the step.
    """
    if sys.platform != "linux":
        return
    library = ctypes.CDLL(None)
    if hasattr(library, "mallopt"):
        library.mallopt(M_TRIM_THRESHOLD, KEPT_BYTES)
        library.mallopt(M_MMAP_THRESHOLD, LARGEST_KEPT)
        library.mallopt(M_TOP_PAD, LARGEST_KEPT)
        _ask_for_large_pages(library)


def _ask_for_large_pages(library: ctypes.CDLL) -> None:
    """Ask for pages of 2 MiB for the memory that is kept.

    The addresses are taken from the heap and given back, with a word to the system. No memory is used until something
    is written there; where the system has no large pages to give, nothing changes.
    """
    library.malloc.restype, library.malloc.argtypes = ctypes.c_void_p, [ctypes.c_size_t]
    library.free.argtypes = [ctypes.c_void_p]
    library.madvise.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
    size = LARGEST_KEPT - mmap.PAGESIZE
    blocks = [library.malloc(size) for _ in range(KEPT_BYTES * 3 // 4 // LARGEST_KEPT)]
    for block in filter(None, blocks):
        first = -(-block // LARGE_PAGE) * LARGE_PAGE
        whole_pages = (block + size - first) // LARGE_PAGE
        library.madvise(first, whole_pages * LARGE_PAGE, mmap.MADV_HUGEPAGE)
    for block in blocks:
        library.free(block)
