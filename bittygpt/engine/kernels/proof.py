"""Tries a Triton kernel before any is used: an installed Triton may lack a C compiler, or a driver that suits it.

Without the kernels training is slower, but goes on.
"""

import functools
import math
import warnings

import torch

OLDEST_GPU = (8, 0)  # Ampere, the first with bfloat16


def proved_on(device: torch.device) -> bool:
    """Whether a kernel gives the right numbers on a device; tried once, on two equal logits."""
    return _trial(device)


# The compiler runs it instead of reading it. That is `torch.compiler.assume_constant_result`, which, where nothing is
# compiled, would load the compiler: seven seconds of a run's start.
proved_on._dynamo_marked_constant = True  # type: ignore[attr-defined]


@functools.cache
def _trial(device: torch.device) -> bool:
    if torch.version.cuda is None or torch.cuda.get_device_capability(device) < OLDEST_GPU:
        return False
    try:
        from bittygpt.engine.kernels.cross_entropy import losses_and_gradients_

        logits, targets = torch.zeros(1, 2, device=device), torch.zeros(1, dtype=torch.int64, device=device)
        losses = losses_and_gradients_(logits, targets, ignore_index=-100, gradients=True)
        found, expected = [*losses.tolist(), *logits[0].tolist()], [math.log(2), -0.5, 0.5]
        if all(math.isclose(x, y, rel_tol=1e-5) for x, y in zip(found, expected, strict=True)):
            return True
        reason = f"loss and gradient came out as {found} instead of {expected}"
    except Exception as error:  # whatever a compiler, a driver or a package of another version may raise
        if "out of memory" in str(error):
            raise  # which says nothing of the kernel: a smaller micro-batch may follow
        reason = f"{type(error).__name__}: {error}"
    warnings.warn(f"PyTorch's operations instead of Triton kernels on {device}: {reason}", stacklevel=2)
    return False
