"""The sampling options of a text, and what is returned for each of its tokens."""

from dataclasses import dataclass
from typing import NamedTuple


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
