"""The loss: how surprised the model is by the token that really came.

Cross-entropy of one position: -log softmax(logits)[target] = log sum_j exp(logits_j) - logits_target, in nats.

Shapes: ... any leading dimensions, V vocabulary.
"""

from typing import Literal

import torch
from torch import Tensor

from bittygpt.core.activations import log_softmax, upcast

IGNORE_INDEX = -100
Reduction = Literal["mean", "sum", "none"]


def cross_entropy(
    logits: Tensor, targets: Tensor, ignore_index: int = IGNORE_INDEX, reduction: Reduction = "mean"
) -> Tensor:
    """logits (..., V), targets (...) int64 -> the loss in nats, float32; the mean is over valid targets.

    A target equal to `ignore_index` (padding, say) adds nothing, neither to the sum nor to the count: dividing by all
    positions instead would make the loss depend on how much padding a batch happens to have. With no valid target at
    all, loss and gradient are zero, where a plain division would give NaN and ruin the weights.

    A mean of the means of several batches is not the mean over their tokens when their counts differ: for gradients
    accumulated over micro-batches take `reduction="sum"` and divide once by the count of all.

    Raises:
        ValueError: targets of another shape, dtype or device than the logits ask for, or no such reduction.

    Oracle: `torch.nn.functional.cross_entropy`.
    """
    check_targets(logits.shape[:-1], targets, logits.device, reduction)
    valid = targets != ignore_index
    log_p = log_softmax(upcast(logits))
    losses = -log_p.gather(-1, targets.masked_fill(~valid, 0).unsqueeze(-1)).squeeze(-1)
    losses = losses.masked_fill(~valid, 0.0)
    if reduction == "none":
        return losses
    total = losses.sum()
    return total if reduction == "sum" else total / valid.sum().clamp(min=1)


def check_targets(
    expected: tuple[int, ...], targets: Tensor, device: torch.device, reduction: str = "sum"
) -> None:
    """Raise ValueError unless there is one target for each position, an id, where the positions are."""
    if targets.shape != expected:
        raise ValueError(f"targets {tuple(targets.shape)} for positions {tuple(expected)}: one for each")
    if targets.dtype != torch.int64 or targets.device != device:
        found, wanted = f"{targets.dtype} on {targets.device}", f"torch.int64 on {device}"
        raise ValueError(f"targets {tuple(targets.shape)} are {found}, and must be {wanted}")
    if reduction not in ("mean", "sum", "none"):
        raise ValueError(f"reduction {reduction!r} is none of mean, sum, none")


def entropy(logits: Tensor) -> Tensor:
    """-sum p log p of p = softmax(logits): how undecided it is, in nats. (..., V) -> (...).

    A token with logit -inf has p = 0 and counts 0, the limit of p log p. Oracle: `torch.distributions.Categorical`.
    """
    log_p = log_softmax(upcast(logits))
    return -expectation(log_p, log_p)


def kl_divergence(p_logits: Tensor, q_logits: Tensor) -> Tensor:
    """sum p log(p / q): the nats lost by coding p's tokens with q (Kullback & Leibler 1951). (..., V) -> (...).

    Oracle: `torch.nn.functional.kl_div`.
    """
    log_p, log_q = log_softmax(upcast(p_logits)), log_softmax(upcast(q_logits))
    return expectation(log_p, log_p - log_q)


def expectation(log_p: Tensor, values: Tensor) -> Tensor:
    """sum p · values over the last dimension, where p = 0 makes the product 0 even if the value is infinite."""
    p = log_p.exp()
    return torch.where(p > 0, p * torch.where(p > 0, values, 0.0), 0.0).sum(dim=-1)
