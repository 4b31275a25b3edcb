"""To record what a GPU is told, and to be as before where that fails."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import torch

from bittygpt.training.prefetch import PINNING

Pool = Any  # PyTorch's handle of a pool of memory


@contextmanager
def recording(graph: torch.cuda.CUDAGraph, pool: Pool) -> Iterator[None]:
    """Within it, what this thread would launch is recorded instead. Nobody else may take or give back memory then."""
    here, collects = torch.cuda.current_stream(), gc.isenabled()
    with PINNING:
        gc.disable()
        try:
            with torch.cuda.graph(graph, pool=pool, capture_error_mode="thread_local"):
                yield
        except BaseException:
            _end_recording(here, pool)
            raise
        finally:
            if collects:
                gc.enable()


def _end_recording(stream: torch.cuda.Stream, pool: Pool) -> None:
    """What PyTorch leaves undone where a recording fails: it goes on with another stream, and keeps all memory."""
    torch.cuda.set_stream(stream)
    with suppress(Exception):  # in versions that do it
        torch._C._cuda_endAllocateToPool(stream.device_index, pool)
