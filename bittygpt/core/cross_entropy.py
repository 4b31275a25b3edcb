"""The loss: how surprised the model is by the token that really came.

Cross-entropy of one position: -log softmax(logits)[target] = log sum_j exp(logits_j) - logits_target, in nats.

Shapes: ... any leading dimensions, V vocabulary.
"""

from typing import Literal

import torch
from torch import Tensor

from bittygpt.core.activations import log_softmax

IGNORE_INDEX = -100


def cross_entropy(
    logits: Tensor,
    targets: Tensor,
    ignore_index: int = IGNORE_INDEX,
    reduction: Literal["mean", "sum", "none"] = "mean",
) -> Tensor:
    """logits (..., V), targets (...) int64 -> the loss in nats, float32; the mean is over valid targets.

    A target equal to `ignore_index` (padding, say) adds nothing, neither to the sum nor to the count: dividing by all
    positions instead would make the loss depend on how much padding a batch happens to have. With no valid target at
    all, loss and gradient are zero, where a plain division would give NaN and ruin the weights.

    A mean of the means of several batches is not the mean over their tokens when their counts differ: for gradients
    accumulated over micro-batches take `reduction="sum"` and divide once by the count of all.

    The largest logit is taken off before the exponential, so no size of logits overflows.
    Oracle: `torch.nn.functional.cross_entropy`.
    """
    logits32 = logits.float()
    valid = targets != ignore_index
    chosen = targets.masked_fill(~valid, 0)
    largest = logits32.detach().amax(dim=-1, keepdim=True)
    log_normaliser = (logits32 - largest).exp().sum(dim=-1).log() + largest.squeeze(-1)
    target_logits = logits32.gather(-1, chosen.unsqueeze(-1)).squeeze(-1)
    losses = (log_normaliser - target_logits).masked_fill(~valid, 0.0)
    if reduction == "none":
        return losses
    if reduction == "sum":
        return losses.sum()
    return losses.sum() / valid.sum().clamp(min=1)


def entropy(logits: Tensor) -> Tensor:
    """-sum p log p of p = softmax(logits): how undecided it is, in nats. (..., V) -> (...).

    A token with logit -inf has p = 0 and counts 0, the limit of p log p. Oracle: `torch.distributions.Categorical`.
    """
    log_p = log_softmax(logits.float())
    return -_weighted(log_p, log_p)


def kl_divergence(p_logits: Tensor, q_logits: Tensor) -> Tensor:
    """sum p log(p / q): the nats lost by coding p's tokens with q (Kullback & Leibler 1951). (..., V) -> (...).

    Oracle: `torch.nn.functional.kl_div`.
    """
    log_p, log_q = log_softmax(p_logits.float()), log_softmax(q_logits.float())
    return _weighted(log_p, log_p - log_q)


def _weighted(log_p: Tensor, values: Tensor) -> Tensor:
    """sum p · values over the last dimension, where p = 0 makes the product 0 even if the value is infinite."""
    p = log_p.exp()
    return torch.where(p > 0, p * torch.where(p > 0, values, 0.0), 0.0).sum(dim=-1)
