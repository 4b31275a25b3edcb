"""Output projection and cross-entropy together, a chunk of tokens at a time, so that never all logits are held.

Logits are the largest tensor of a small model's training: N tokens times V entries, and their gradient once more. The
loss of one token needs its own V logits alone, and from these also follow its gradients:

    logits = h Wᵀ      dlogits = softmax(logits) - onehot(target)      dh = dlogits W      dW = sum of dlogitsᵀ h

So a chunk of tokens goes forward and backward at once, and its logits are dropped before the next one's are made
(the idea of Wijmans et al. 2024, "Cut your losses", and Hsu et al. 2024, "Liger kernel").

Shapes: N tokens, D d_model, V vocabulary.
"""

import math
from collections.abc import Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from bittygpt.core.cross_entropy import IGNORE_INDEX, check_targets, cross_entropy
from bittygpt.engine.dispatch import product_dtype
from bittygpt.engine.function import FusedFunction
from bittygpt.engine.kernels import cpu, work_on

# Logits that are held at once: with fewer, the pass over the weight's gradient that every chunk makes would show. On a
# GPU it would with more chunks than four, too: there products are so fast that every other pass over memory does.
LOGITS_AT_ONCE, LOGITS_AT_ONCE_GPU = 1 << 24, 1 << 27
MOST_CHUNKS_GPU = 4
# A GPU multiplies matrices at a fraction of its rate where rows do not begin at multiples of 16 bytes; 64 fill a tile.
VOCABULARY_MULTIPLE_GPU = 64


def linear_cross_entropy(
    hidden: Tensor, weight_VD: Tensor, targets: Tensor, ignore_index: int = IGNORE_INDEX
) -> Tensor:
    """The formula: the sum of `cross_entropy(hidden @ weight.T, targets)`. hidden (..., D), targets (...) -> scalar."""
    return cross_entropy(hidden @ weight_VD.T, targets, ignore_index, reduction="sum")


def losses_and_gradients_(logits_NV: Tensor, targets_N: Tensor, ignore_index: int, gradients: bool) -> Tensor:
    """The losses of some tokens (N,) float32; with `gradients`, those of their sum are written over the logits.

        loss = log sum exp(logits) - logits[target]          dlogits = softmax(logits) - onehot(target)

    Both are zero where the target is `ignore_index`. What the logits hold afterwards without `gradients` is undefined.
    """
    if work_on(logits_NV):
        from bittygpt.engine.kernels import cross_entropy as kernels

        compute = kernels.as_operation if torch.compiler.is_compiling() else kernels.losses_and_gradients_
        return compute(logits_NV, targets_N, ignore_index, gradients)
    found = cpu.losses_and_gradients_(logits_NV, targets_N, ignore_index, gradients)
    if found is not None:
        return found
    targets_N1 = targets_N.unsqueeze(1)
    valid = targets_N1 != ignore_index
    chosen = targets_N1.masked_fill(~valid, 0)
    logits32 = logits_NV.float()
    target_logits = logits32.gather(1, chosen)
    largest = logits32.amax(dim=1, keepdim=True)
    exponentials = logits32.sub_(largest).exp_()
    sums = exponentials.sum(dim=1, keepdim=True)
    losses = (sums.log() + (largest - target_logits)).masked_fill(~valid, 0.0)
    if gradients:
        dlogits = exponentials.mul_(valid / sums)
        dlogits.scatter_add_(1, chosen, -valid.float())
        if dlogits is not logits_NV:
            logits_NV.copy_(dlogits)
    return losses.squeeze(1)


class LinearCrossEntropy(FusedFunction):
    """The loss, and the gradients with it, as nothing but a factor is still unknown then."""

    formula = staticmethod(linear_cross_entropy)

    @staticmethod
    def forward(
        ctx: Any, hidden_ND: Tensor, weight_VD: Tensor, targets_N: Tensor, ignore_index: int
    ) -> Tensor:
        wants_hidden, wants_weight = ctx.needs_input_grad[:2]
        vocab_size = len(weight_VD)
        weight = with_padding(weight_VD)
        total = torch.zeros((), dtype=torch.float32, device=hidden_ND.device)
        dhidden = torch.empty_like(hidden_ND) if wants_hidden else None
        dweight = torch.zeros_like(weight, dtype=torch.float32) if wants_weight else None
        for rows in chunks(len(targets_N), vocab_size, hidden_ND.device):
            hidden = hidden_ND[rows]
            logits = logits_with_padding(hidden, weight, vocab_size)
            losses = losses_and_gradients_(
                logits, targets_N[rows], ignore_index, gradients=wants_hidden or wants_weight
            )
            # not in place: of a result that was, PyTorch before 2.13 loses the gradient where it compiles this
            total = total + losses.sum()
            dlogits = logits
            if dhidden is not None:
                _put_product(dhidden[rows], dlogits, weight)
            if dweight is not None:
                _add_product(dweight, dlogits.T, hidden)
        dweight = None if dweight is None else dweight[:vocab_size]
        FusedFunction.save(ctx, (hidden_ND, weight_VD, targets_N, ignore_index), dhidden, dweight)
        return total

    @staticmethod
    def gradients(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, Tensor | None, None, None]:
        _, (dhidden, dweight) = FusedFunction.saved(ctx)
        return (
            None if dhidden is None else dhidden * grads[0].to(dhidden.dtype),
            None if dweight is None else dweight * grads[0],
            None,
            None,
        )


def chunked_linear_cross_entropy(
    hidden: Tensor, weight_VD: Tensor, targets: Tensor, ignore_index: int = IGNORE_INDEX
) -> Tensor:
    """The sum of the losses in nats, float32, as `linear_cross_entropy` has it; of all the logits only some are held.

    Args:
        hidden: (..., D), what the last layer says of every position.
        weight_VD: the output projection.
        targets: (...) int64; `ignore_index` adds nothing.

    Under autocast the products are done in its precision, those of the gradients too, and all sums in float32.
    """
    check_targets(hidden.shape[:-1], targets, hidden.device)
    rows = hidden.flatten(0, -2), weight_VD, targets.flatten()
    loss: Tensor = LinearCrossEntropy.apply(*rows, ignore_index)
    return loss


@torch.no_grad()
def chunked_token_losses(
    hidden: Tensor, weight_VD: Tensor, targets: Tensor, ignore_index: int = IGNORE_INDEX
) -> Tensor:
    """The loss of every token apart, (...) float32, without gradients; of all the logits only some are held."""
    check_targets(hidden.shape[:-1], targets, hidden.device)
    rows, flat = hidden.flatten(0, -2), targets.flatten()
    vocab_size = len(weight_VD)
    weight = with_padding(weight_VD)
    losses = [
        losses_and_gradients_(
            logits_with_padding(rows[part], weight, vocab_size), flat[part], ignore_index, gradients=False
        )
        for part in chunks(len(flat), vocab_size, hidden.device)
    ]
    return torch.cat(losses).view(targets.shape)


def with_padding(weight_VD: Tensor) -> Tensor:
    """On a GPU, in the precision of products and with rows of zeros below, so that their number suits it."""
    if not weight_VD.is_cuda:
        return weight_VD
    weight_VD = weight_VD.to(product_dtype(weight_VD))
    missing = -len(weight_VD) % VOCABULARY_MULTIPLE_GPU
    return F.pad(weight_VD, (0, 0, 0, missing)) if missing else weight_VD


def logits_with_padding(hidden_ND: Tensor, weight: Tensor, vocab_size: int) -> Tensor:
    """The logits (N, V and more): what stands where there is no token has probability 0, and so no gradient."""
    logits = hidden_ND @ weight.T
    if len(weight) > vocab_size:
        logits[:, vocab_size:] = -math.inf
    return logits


def logits_at_once(device: torch.device) -> int:
    """How many logits may be held at the same time on a device."""
    return LOGITS_AT_ONCE_GPU if device.type == "cuda" else LOGITS_AT_ONCE


def tokens_at_once(num_tokens: int, vocab_size: int, device: torch.device) -> int:
    """Of how many of the tokens the logits are held at the same time."""
    size = max(1, logits_at_once(device) // vocab_size)
    if device.type == "cuda":
        size = max(size, math.ceil(num_tokens / MOST_CHUNKS_GPU))
    return min(size, max(1, num_tokens))


def chunks(num_tokens: int, vocab_size: int, device: torch.device) -> Iterator[slice]:
    """The tokens in parts of equal size, but for the last."""
    size = tokens_at_once(num_tokens, vocab_size, device)
    return (slice(first, first + size) for first in range(0, num_tokens, size))


def _add_product(total: Tensor, a: Tensor, b: Tensor) -> None:
    """total += a @ b; in one go where all are of one precision, as autocast has no say in a sum in place."""
    if a.dtype == b.dtype == total.dtype:
        total.addmm_(a, b)
    else:
        total += a @ b


def _put_product(place: Tensor, a: Tensor, b: Tensor) -> None:
    """place = a @ b; without a copy where all are of one precision."""
    if a.dtype == b.dtype == place.dtype:
        torch.mm(a, b, out=place)
    else:
        place.copy_(a @ b)
