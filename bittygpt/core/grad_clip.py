"""Gradient clipping: no single batch may throw the weights far.

Pascanu et al. 2013, algorithm 1.
"""

from collections.abc import Iterable

import torch
from torch import Tensor

from bittygpt.core.twins import use_c
from bittygpt.kernels import cpu


@torch.no_grad()
def clip_grad_norm(parameters: Iterable[Tensor], max_norm: float) -> Tensor:
    """Scale all gradients together so that their common L2 norm is at most `max_norm`; 0 or less: only measure.

    One norm over all parameters keeps the direction of the step; clipping each one alone would turn it.

    Returns:
        The norm before clipping, float32, on the gradients' device. It is not finite when a gradient is not.

    Oracle: `torch.nn.utils.clip_grad_norm_`.
    """
    grads = [p.grad for p in parameters if p.grad is not None]
    if not grads:
        return torch.zeros(())
    if use_c(torch.float32, grads):
        length = cpu.norm(grads)
        factor = max_norm / (length + 1e-6)
        if max_norm > 0 and factor < 1:
            cpu.scale_(grads, factor)
        return torch.tensor(length, dtype=torch.float32, device=grads[0].device)
    norm = torch.linalg.vector_norm(torch.stack(torch._foreach_norm(grads, 2, torch.float32)))
    if max_norm > 0:
        torch._foreach_mul_(grads, (max_norm / (norm + 1e-6)).clamp(max=1.0))
    return norm
