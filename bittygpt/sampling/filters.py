"""What is done to the scores before a token is drawn: each filter a small function on logits (B, V) float32.

A token that a filter drops gets the logit -inf, thus the probability 0. Every filter keeps the token of the highest
logit, so at least one always remains. Where tokens with equal logits compete for the last places, the lower ids win;
so `top_k` of 1 is greedy choice, ties included.

Shapes: B samples, V vocabulary.
"""

import math

import torch
from torch import Tensor

from bittygpt.core import softmax

_SMALLEST_NORMAL = torch.finfo(torch.float32).tiny


def apply_repetition_penalty(logits_BV: Tensor, seen_BV: Tensor, penalty: float) -> Tensor:
    """Make tokens that occurred before less likely: x / penalty where x > 0, x · penalty elsewhere.

    Keskar et al. 2019 (CTRL), section 4.1, who found 1.2 good. There every logit is divided, which would *raise* a
    negative one; multiplying those is the form that is in use everywhere since.

    Args:
        seen_BV: bool, True for the tokens of the prompt and of the text so far.
        penalty: above 0; 1 changes nothing, below 1 repetition gets likelier.
    """
    penalised_BV = torch.where(logits_BV > 0, logits_BV / penalty, logits_BV * penalty)
    return torch.where(seen_BV, penalised_BV, logits_BV)


def apply_temperature(logits_BV: Tensor, temperature: float) -> Tensor:
    """(x - max x) / temperature: p_i becomes proportional to p_i^(1/temperature) (Ackley et al. 1985).

    The highest logit is set to 0 first, which changes no probability: a tiny temperature then sends the others to
    -inf (greedy choice, its limit) instead of all to infinity.

    Args:
        temperature: above 0; 0 is not divided by, the caller takes the highest logit instead.
    """
    return (logits_BV - logits_BV.amax(dim=-1, keepdim=True)) / max(temperature, _SMALLEST_NORMAL)


def keep_top_k(logits_BV: Tensor, k: int) -> Tensor:
    """Keep the k tokens of the highest logits (Fan et al. 2018), or all where there are fewer."""
    if k >= logits_BV.shape[-1]:
        return logits_BV
    kth_highest_B1 = logits_BV.topk(k, dim=-1).values[:, -1:]
    above_BV, level_BV = logits_BV > kth_highest_B1, logits_BV == kth_highest_B1
    places_left_B1 = k - above_BV.sum(dim=-1, keepdim=True)
    kept_BV = above_BV | (level_BV & (level_BV.cumsum(dim=-1) <= places_left_B1))
    return logits_BV.masked_fill(~kept_BV, -math.inf)


def keep_top_p(logits_BV: Tensor, p: float) -> Tensor:
    """Keep the nucleus: the fewest likeliest tokens whose probabilities sum to at least p (Holtzman et al. 2020).

    The smallest set N with Σ_{i in N} p_i >= p: a token is in it when those before it, in the order of probability,
    do not reach p yet.

    Args:
        p: above 0; 1 keeps all.
    """
    if p >= 1:
        return logits_BV
    sorted_BV, order_BV = logits_BV.sort(dim=-1, descending=True, stable=True)
    probabilities_BV = softmax(sorted_BV)
    before_BV = probabilities_BV.cumsum(dim=-1) - probabilities_BV
    p = max(p, _SMALLEST_NORMAL)  # a smaller one would be 0 in float32, and drop all
    dropped_BV = torch.zeros_like(before_BV, dtype=torch.bool).scatter(-1, order_BV, before_BV >= p)
    return logits_BV.masked_fill(dropped_BV, -math.inf)


def keep_min_p(logits_BV: Tensor, min_p: float) -> Tensor:
    """Keep tokens at least `min_p` times as likely as the likeliest one (Nguyen et al. 2024).

    p_i >= min_p · p_max, tested as x_i >= x_max + ln(min_p): the sum that both are divided by falls out. All tokens
    that tie at the threshold stay.

    Args:
        min_p: 0 to 1; 0 keeps all, 1 the likeliest alone (with its equals).
    """
    if min_p <= 0:
        return logits_BV
    threshold_B1 = logits_BV.amax(dim=-1, keepdim=True) + math.log(min_p)
    return logits_BV.masked_fill(logits_BV < threshold_B1, -math.inf)
