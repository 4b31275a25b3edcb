"""Adam's update of one tensor in one kernel: everything is read once, and what changes is written once.

    g <- g + l2 · w          m <- b1 m + (1 - b1) g          v <- b2 v + (1 - b2) g²
    w <- kept · w - lr / (1 - b1^t) · m / (sqrt(v) / sqrt(1 - b2^t) + eps)

28 bytes of traffic for each float32 weight, where an operation for each sign takes about 80, and nothing is kept in
between. Kingma & Ba 2015, algorithm 1; `kept` = 1 - lr · decay: Loshchilov & Hutter 2019, algorithm 2.
"""

import math

import torch
import triton
import triton.language as tl
from torch import Tensor

BLOCK = 1024  # weights of one program


@triton.jit
def adam_kernel(
    weights: tl.tensor,
    grads: tl.tensor,
    means: tl.tensor,
    squares: tl.tensor,
    num_weights: tl.tensor,
    kept: tl.tensor,
    l2: tl.tensor,
    one_minus_beta1: tl.tensor,
    beta2: tl.tensor,
    one_minus_beta2: tl.tensor,
    step_size: tl.tensor,
    sqrt_correction: tl.tensor,
    eps: tl.tensor,
    BLOCK: tl.constexpr,
) -> None:
    """BLOCK weights of contiguous tensors of any float type; the arithmetic is float32."""
    index = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    inside = index < num_weights
    w = tl.load(weights + index, mask=inside).to(tl.float32)
    g = tl.load(grads + index, mask=inside).to(tl.float32)
    m = tl.load(means + index, mask=inside).to(tl.float32)
    v = tl.load(squares + index, mask=inside).to(tl.float32)

    g += l2 * w
    m += one_minus_beta1 * (g - m)
    v = beta2 * v + one_minus_beta2 * g * g
    denominator = (
        tl.div_rn(tl.sqrt_rn(v), sqrt_correction) + eps
    )  # rounded as PyTorch does: plain / and sqrt are less
    w = kept * w - step_size * tl.div_rn(m, denominator)

    tl.store(weights + index, w.to(weights.dtype.element_ty), mask=inside)
    tl.store(means + index, m.to(means.dtype.element_ty), mask=inside)
    tl.store(squares + index, v.to(squares.dtype.element_ty), mask=inside)


def adam_(
    weight: Tensor,
    grad: Tensor,
    mean: Tensor,
    square: Tensor,
    t: int,
    lr: float,
    betas: tuple[float, float],
    eps: float,
    l2: float = 0.0,
    decoupled_decay: float = 0.0,
) -> None:
    """Step t (from 1) of one tensor; weight and both means, all contiguous and of one shape, are updated in place."""
    (beta1, beta2), num_weights = betas, weight.numel()
    with torch.cuda.device_of(weight):  # Triton launches on the current device
        adam_kernel[(triton.cdiv(num_weights, BLOCK),)](
            weight,
            grad,
            mean,
            square,
            num_weights,
            # Numbers with a point, of which Triton never compiles one in: the same kernel serves every step.
            kept=1.0 - lr * decoupled_decay,
            l2=float(l2),
            one_minus_beta1=1.0 - beta1,
            beta2=float(beta2),
            one_minus_beta2=1.0 - beta2,
            step_size=lr / (1.0 - beta1**t),
            sqrt_correction=math.sqrt(1.0 - beta2**t),
            eps=float(eps),
            BLOCK=BLOCK,
            num_warps=4,
        )
    # Triton writes behind autograd's back: told of it, a backward pass that still needs the old weights fails.
    torch.autograd.graph.increment_version(weight)
