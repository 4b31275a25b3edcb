"""Kernels of our own: one pass over memory where a list of tensor operations takes many. Each computes the numbers of
a formula in `core`, and is tested against it.

For a GPU in Triton: `torch.compile` fuses most of a model there by itself; a kernel is here only where it cannot. For
a CPU in C, in `cpu.c`.

Nothing imports Triton before a tensor lies on a GPU: PyTorch for CUDA brings it along, PyTorch for CPUs does not.
"""

import importlib.util

from torch import Tensor

TRITON_IS_HERE = importlib.util.find_spec("triton") is not None


def work_on(tensor: Tensor) -> bool:
    """Whether the kernels compute on this tensor's device: a GPU on which one of them has been tried."""
    if not (tensor.is_cuda and TRITON_IS_HERE):
        return False
    from bittygpt.engine.kernels.proof import proved_on

    return proved_on(tensor.device)
