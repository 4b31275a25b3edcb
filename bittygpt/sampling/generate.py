"""From a prompt to its continuation, token by token: read the prompt at once, then choose, append, go on.

Shapes: B samples, T positions, V vocabulary.
"""

import hashlib
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from bittygpt.core import TransformerLM, log_softmax, softmax
from bittygpt.errors import CheckpointError
from bittygpt.sampling.context import Context
from bittygpt.sampling.filters import (
    apply_repetition_penalty,
    apply_temperature,
    keep_min_p,
    keep_top_k,
    keep_top_p,
)


@dataclass(frozen=True)
class SamplingOptions:
    """How a token is chosen, and when to end; ranges as in the config's `sample:` section.

    Attributes:
        max_tokens: the most tokens of one sample.
        temperature: 0 takes the highest logit (the lowest id of equal ones), and the three filters play no part.
        top_k, top_p, min_p: see `filters`; None keeps all tokens.
        seed: with a sample's index, the seed of its own generator.
        ignore_eos: `<|endoftext|>` is never chosen, so that only `max_tokens` ends a sample.
    """

    max_tokens: int
    temperature: float = 1.0
    top_k: int | None = None
    top_p: float | None = None
    min_p: float | None = None
    repetition_penalty: float = 1.0
    seed: int = 0
    ignore_eos: bool = False


class NewToken(NamedTuple):
    """A chosen token, and its log-probability under the model's own distribution: no filters, temperature 1."""

    token_id: int
    logprob: float


def _say_nothing(_message: str) -> None:
    pass


@torch.inference_mode()
def generate(
    model: TransformerLM,
    prompt_ids: Sequence[int],
    options: SamplingOptions,
    end_of_text_id: int,
    num_samples: int = 1,
    on_notice: Callable[[str], None] = _say_nothing,
) -> Iterator[list[NewToken | None]]:
    """Continue a prompt `num_samples` times at once; yields, for each step, the new token of each sample.

    An empty prompt starts from `<|endoftext|>`, which is what stood before each document in training; it is no part
    of what is yielded. A sample ends with `<|endoftext|>`, which is yielded, or after `max_tokens`; None stands in
    the place of a sample that has ended before. All samples share one reading of the prompt. Sample i draws from a
    generator of its own, so that it is the same whatever their number is, but for what rounding does: a matrix
    product over more rows may differ in its last bits.

    A prompt that is longer than the model's context loses its beginning; when the context is full, its last half is
    read anew and the text goes on from there. `on_notice` is told of both, each once.

    Args:
        prompt_ids: at least none.
        end_of_text_id: the id of `<|endoftext|>`.

    Raises:
        CheckpointError: the model's scores are not finite.
    """
    device = model.token_embeddings.weight.device
    context = Context(model, prompt_ids or [end_of_text_id], options.max_tokens, num_samples, on_notice)
    generators = [_generator(options.seed, index) for index in range(num_samples)]
    seen_BV = torch.zeros(num_samples, model.config.vocab_size, dtype=torch.bool, device=device)
    seen_BV[:, list(prompt_ids)] = True
    ended = [False] * num_samples
    logits_BV = context.read_prompt()
    for step in range(options.max_tokens):
        scores_BV = logits_BV
        if options.ignore_eos:
            scores_BV = logits_BV.index_fill(-1, torch.tensor([end_of_text_id], device=device), -math.inf)
        chosen_B1 = choose(scores_BV, seen_BV, options, generators)[:, None].to(device)
        logprobs_B1 = log_softmax(logits_BV).gather(-1, chosen_B1)
        seen_BV.scatter_(-1, chosen_B1, True)
        new = [
            NewToken(*pair) for pair in zip(chosen_B1[:, 0].tolist(), logprobs_B1[:, 0].tolist(), strict=True)
        ]
        yield [None if over else token for token, over in zip(new, ended, strict=True)]
        ended = [over or token.token_id == end_of_text_id for token, over in zip(new, ended, strict=True)]
        if all(ended) or step + 1 == options.max_tokens:
            return
        logits_BV = context.advance(chosen_B1)


def choose(
    logits_BV: Tensor, seen_BV: Tensor, options: SamplingOptions, generators: Sequence[torch.Generator]
) -> Tensor:
    """The next token of each sample: logits (B, V) float32 -> ids (B,) int64, on the CPU.

    In this order: repetition penalty, temperature, top-k, top-p, min-p; then sample i is drawn with `generators[i]`.

    Raises:
        CheckpointError: the scores are not finite.
    """
    if options.repetition_penalty != 1:
        logits_BV = apply_repetition_penalty(logits_BV, seen_BV, options.repetition_penalty)
    if not logits_BV.amax(dim=-1).isfinite().all():
        raise CheckpointError(
            "the model's scores for the next token are not finite; take an earlier checkpoint, such as "
            "runs/NAME:best, and a repetition_penalty near 1"
        )
    if options.temperature == 0:
        return logits_BV.argmax(dim=-1).cpu()
    logits_BV = apply_temperature(logits_BV, options.temperature)
    if options.top_k is not None:
        logits_BV = keep_top_k(logits_BV, options.top_k)
    if options.top_p is not None:
        logits_BV = keep_top_p(logits_BV, options.top_p)
    if options.min_p is not None:
        logits_BV = keep_min_p(logits_BV, options.min_p)
    return draw(softmax(logits_BV).cpu(), generators)


def draw(probabilities_BV: Tensor, generators: Sequence[torch.Generator]) -> Tensor:
    """A token for each row, by inverting its distribution function: the first id whose running sum exceeds u.

    u is uniform on [0, 1) from the row's own generator, and sums are float64: no row depends on another, and a token
    of probability 0 is never drawn.
    """
    uniform_B1 = torch.stack([torch.rand(1, generator=g, dtype=torch.float64) for g in generators])
    sums_BV = probabilities_BV.double().cumsum(dim=-1)
    # u has 53 bits, is thus at most 1 - 2^-53, and u · total stays below the total however it is rounded.
    return torch.searchsorted(sums_BV, uniform_B1 * sums_BV[:, -1:], right=True)[:, 0]


def _generator(seed: int, index: int) -> torch.Generator:
    """A generator for one sample. Hashed, because seed + index would make sample 1 of seed 0 sample 0 of seed 1."""
    digest = hashlib.sha256(f"{seed} {index}".encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:8], "little"))
