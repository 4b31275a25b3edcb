"""Captures GPU work in a CUDA graph, and restores the state before it if that fails."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from threading import Lock
from typing import Any

import torch

PINNING = Lock()  # held while memory is pinned: not a moment at which to capture what a GPU does
Pool = Any  # PyTorch's handle of a pool of memory


@contextmanager
def capture(graph: torch.cuda.CUDAGraph, pool: Pool) -> Iterator[None]:
    """Capture what this thread launches in a CUDA graph. No other thread may allocate or free memory meanwhile."""
    here, collects = torch.cuda.current_stream(), gc.isenabled()
    with PINNING:
        gc.disable()
        try:
            with torch.cuda.graph(graph, pool=pool, capture_error_mode="thread_local"):
                yield
        except BaseException:
            _end_capture(here, pool)
            raise
        finally:
            if collects:
                gc.enable()


def _end_capture(stream: torch.cuda.Stream, pool: Pool) -> None:
    """Clean up after a failed capture: PyTorch stays on the other stream and keeps its memory."""
    torch.cuda.set_stream(stream)
    with suppress(Exception):  # in versions that do it
        torch._C._cuda_endAllocateToPool(stream.device_index, pool)
