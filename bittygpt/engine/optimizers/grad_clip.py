"""Clipping over lists of gradients, on a CPU in one pass for the norm and one for the factor."""

from collections.abc import Iterable

import torch
from torch import Tensor

from bittygpt.core import grad_clip
from bittygpt.core.grad_clip import gradients_of
from bittygpt.engine.formulas import Proof
from bittygpt.engine.kernels import cpu

PROOF = Proof("grad_clip.py:clip_grad_norm", "grad_clip.py:gradients_of", "activations.py:upcast")


@torch.no_grad()
def clip_grad_norm(parameters: Iterable[Tensor] | Tensor, max_norm: float) -> Tensor:
    """What `core.clip_grad_norm` does."""
    parameters = parameters if isinstance(parameters, Tensor) else list(parameters)
    grads = gradients_of(parameters)
    if not (grads and PROOF.holds()):
        return grad_clip.clip_grad_norm(parameters, max_norm)
    length = cpu.clip_(grads, max_norm)
    if length is not None:
        return torch.tensor(length, dtype=torch.float32, device=grads[0].device)
    if any(grad.dtype == torch.float64 or grad.is_neg() for grad in grads):
        return grad_clip.clip_grad_norm(parameters, max_norm)
    norm = torch.linalg.vector_norm(torch.stack(torch._foreach_norm(grads, 2, torch.float32)))
    if max_norm > 0:
        torch._foreach_mul_(grads, (max_norm / (norm + 1e-6)).clamp(max=1.0))
    return norm
