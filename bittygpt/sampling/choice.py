"""From logits to the next token of each sample: the filters in order, then a draw.

Shapes: B samples, V vocabulary.
"""

import hashlib
import math
from collections.abc import Sequence

import torch
from torch import Tensor

from bittygpt.errors import CheckpointError
from bittygpt.sampling.filters import (
    apply_repetition_penalty,
    apply_temperature,
    keep_min_p,
    keep_top_k,
    keep_top_p,
)
from bittygpt.sampling.options import SamplingOptions


def choose(
    logits_BV: Tensor,
    seen_BV: Tensor | None,
    options: SamplingOptions,
    generators: Sequence[torch.Generator],
) -> Tensor:
    """The next token of each sample: logits (B, V) float32 -> ids (B,) int64, on the CPU.

    In this order: repetition penalty, temperature, top-k, top-p, min-p; then sample i is drawn with `generators[i]`.

    Args:
        seen_BV: bool, the tokens of prompt and text so far; None will do without a repetition penalty.

    Raises:
        CheckpointError: the scores are not finite.
    """
    if options.repetition_penalty != 1:
        assert seen_BV is not None
        logits_BV = apply_repetition_penalty(logits_BV, seen_BV, options.repetition_penalty)
    highest = logits_BV.max(dim=-1)  # of equal ones, the first
    if not all(map(math.isfinite, highest.values.tolist())):
        raise CheckpointError(
            "the model's scores for the next token are not finite; take an earlier checkpoint, such as "
            "runs/NAME:best, and a repetition_penalty near 1"
        )
    if options.temperature == 0:
        return highest.indices.cpu()
    logits_BV = apply_temperature(logits_BV, options.temperature)
    if options.top_k is not None:
        logits_BV = keep_top_k(logits_BV, options.top_k)
    if options.top_p is not None:
        logits_BV = keep_top_p(logits_BV, options.top_p)
    if options.min_p is not None:
        logits_BV = keep_min_p(logits_BV, options.min_p)
    return draw(torch.softmax(logits_BV, dim=-1).cpu(), generators)


def draw(probabilities_BV: Tensor, generators: Sequence[torch.Generator]) -> Tensor:
    """A token for each row, by inverting its distribution function: the first id whose running sum exceeds u.

    u is uniform on [0, 1) from the row's own generator, and sums are float64: no row depends on another, and a token
    of probability 0 is never drawn.
    """
    uniform_B1 = torch.stack([torch.rand(1, generator=g, dtype=torch.float64) for g in generators])
    sums_BV = probabilities_BV.double().cumsum(dim=-1)
    # u has 53 bits, is thus at most 1 - 2^-53, and u · total stays below the total however it is rounded.
    return torch.searchsorted(sums_BV, uniform_B1 * sums_BV[:, -1:], right=True)[:, 0]


def generator_for(seed: int, index: int) -> torch.Generator:
    """A generator for one sample. Hashed, because seed + index would make sample 1 of seed 0 sample 0 of seed 1."""
    digest = hashlib.sha256(f"{seed} {index}".encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:8], "little"))
