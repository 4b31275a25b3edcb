"""Gradient clipping: no single batch may throw the weights far.

Pascanu et al. 2013, algorithm 1.
"""

from collections.abc import Iterable

import torch
from torch import Tensor

from bittygpt.core.activations import upcast


@torch.no_grad()
def clip_grad_norm(parameters: Iterable[Tensor] | Tensor, max_norm: float) -> Tensor:
    """Scale all gradients together so that their common L2 norm is at most `max_norm`; 0 or less: only measure.

    One norm over all parameters keeps the direction of the step; clipping each one alone would turn it.

    Returns:
        The norm before clipping, float32, on the gradients' device. It is not finite when a gradient is not.

    Oracle: `torch.nn.utils.clip_grad_norm_`.
    """
    grads = gradients_of(parameters)
    if not grads:
        return torch.zeros(())
    norm = torch.stack([torch.linalg.vector_norm(upcast(grad)) for grad in grads]).square().sum().sqrt()
    if max_norm > 0:
        for grad in grads:
            grad.mul_((max_norm / (norm + 1e-6)).clamp(max=1.0))
    return norm


def gradients_of(parameters: Iterable[Tensor] | Tensor) -> list[Tensor]:
    """The gradients that are there, of several parameters or of one."""
    several = [parameters] if isinstance(parameters, Tensor) else parameters
    return [p.grad for p in several if p.grad is not None]
