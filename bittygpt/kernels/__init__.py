"""Kernels of our own, in Triton: what a GPU does in one pass over memory where a list of tensor operations takes many.

`torch.compile` fuses most of a model by itself; a kernel is here only where it cannot. Each is the twin of a formula
in `core`, computes the same numbers, and is tested against it.

Nothing imports Triton before a tensor lies on a GPU: PyTorch for CUDA brings it along, PyTorch for CPUs does not.
"""

import functools
import importlib.util
import math
import warnings

import torch
from torch import Tensor

TRITON_IS_HERE = importlib.util.find_spec("triton") is not None
OLDEST_GPU = (8, 0)  # Ampere, the first with bfloat16


def work_on(tensor: Tensor) -> bool:
    """Whether the kernels can compute on this tensor's device.

    While `torch.compile` traces, nothing can be tried out; but for a GPU it has need of Triton itself.
    """
    if not (tensor.is_cuda and TRITON_IS_HERE):
        return False
    return torch.compiler.is_compiling() or _proved_on(tensor.device)


@functools.cache
def _proved_on(device: torch.device) -> bool:
    """Whether a kernel gives the right number there; tried once, as Triton needs more than to be installed.

    A C compiler, say, or a driver of its own age. Without it training is slower, but goes on.
    """
    if torch.version.cuda is None or torch.cuda.get_device_capability(device) < OLDEST_GPU:
        return False
    try:
        from bittygpt.kernels.cross_entropy import losses_and_gradients_

        logits, targets = torch.zeros(1, 2, device=device), torch.zeros(1, dtype=torch.int64, device=device)
        loss = losses_and_gradients_(logits, targets, ignore_index=-100, gradients=False).item()
        if math.isclose(loss, math.log(2), rel_tol=1e-5):
            return True
        reason = f"the loss of an even choice of two came out as {loss}"
    except Exception as error:  # whatever a compiler, a driver or a package of another version may raise
        if "out of memory" in str(error):
            raise  # which says nothing of the kernel: a smaller micro-batch may follow
        reason = f"{type(error).__name__}: {error}"
    warnings.warn(f"PyTorch's operations instead of Triton kernels on {device}: {reason}", stacklevel=2)
    return False
