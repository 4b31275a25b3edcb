"""What every verification of an export compares: on which texts, and how near is near enough.

Shapes: V vocabulary.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from bittygpt.core import TransformerLM, kl_divergence
from bittygpt.data.tokenizer import Tokenizer
from bittygpt.errors import ExportError
from bittygpt.export.hf_tokenizer import encode_with_special_tokens

TOLERANCE = 1e-4  # of a logit in float32; wrong epsilons show at 1e-2, wrong permutations at 10
RELATIVE_TOLERANCE = 1e-5  # of the largest logit, for models whose logits are large: float32 has seven digits
# transformers works out RoPE's angles in float32: far out its own rounding, 1e-4 at position 1000, hides all else.
COMPARED_POSITIONS = 256
GREEDY_TOKENS = 32
HARD_TEXTS = (
    "",
    "Once upon a time, there was a little fox who didn't want to sleep.",
    "I'm you're he'll we've they'd it's I'M YOU'RE",
    "  two  spaces, \t tabs\t\tand\n\n\nlines \r\n with CRLF   ",
    "numbers 1 23 456 7890 3.14159 1,000,000 ½ ² ٣",
    "naïve café Ünïcödé ﬁ e\u0301 \u200b\u00a0\ufeff",
    "日本語のテキスト 한국어 العربية हिन्दी ไทย",
    "emoji 🦉👩‍👩‍👧‍👦🏳️‍🌈 and 𝔐𝔞𝔱𝔥",
    "NUL \x00 and \x01\x7f control",
    "def f(x):\n    return {'a': [x ** 2, -x]}  # code <|not_special|>",
    "a" * 300 + " " * 300 + "\n" * 50 + "!?" * 100,
    "\u0085\u2028\u3000 \u00a0x\u2003\u2003y",
    "<|endoftext",
    "|endoftext|>",
    "<|<|endoftext|>|>",
)
AROUND_SPECIAL = (("", ""), ("a ", "b"), ("\n", " \n"), ("don", "'t"))


@dataclass(frozen=True)
class Verification:
    """What was compared, and how near it came.

    Attributes:
        largest_difference: of a logit, or of a log-probability.
        kl_divergence: the mean of sum p log(p / q), nats, of our distributions p and the export's q.
        positions_compared: from the start of each sequence.
        texts_compared: how many gave equal ids; None: there is no tokenizer to compare.
    """

    largest_difference: float
    kl_divergence: float
    positions_compared: int
    texts_compared: int | None


def compared_length(model: TransformerLM) -> int:
    """How many positions are compared."""
    return min(model.config.context_length, COMPARED_POSITIONS)


def kl_divergence_of(ours: Tensor, theirs: Tensor) -> float:
    """The mean over all distributions of sum p log(p / q), nats, p and q given by logits (..., V)."""
    return kl_divergence(ours.double(), theirs.double()).mean().item()


def first_difference(expected: list[int], found: list[int], margins: list[float]) -> bool:
    """Whether two greedy texts part, where the model itself was undecided.

    Raises:
        ExportError: they part where it was not.
    """
    for place, (mine, other) in enumerate(zip(expected, found, strict=False)):
        if mine != other and margins[place] > 2 * TOLERANCE:  # nearer than that, rounding may choose either
            raise ExportError(
                f"the export's greedy text differs at token {place + 1}: {other} instead of {mine}"
            )
        if mine != other:
            return True
    return False


@torch.inference_mode()
def greedy_text(
    model: TransformerLM, prompt: list[int], count: int, end: int
) -> tuple[list[int], list[float]]:
    """The likeliest token, `count` times or until the end, and how far it led before the second."""
    ids, margins = list(prompt), []
    for _ in range(count):
        best = model(torch.tensor([ids]))[0, -1].topk(2)
        ids.append(int(best.indices[0]))
        margins.append(float(best.values[0] - best.values[1]))
        if ids[-1] == end:
            break
    return ids[len(prompt) :], margins


def with_special_tokens(tokenizer: Tokenizer) -> list[str]:
    """Texts with special tokens inside."""
    return [
        f"{before}{token}{after}" for token in tokenizer.special_tokens for before, after in AROUND_SPECIAL
    ]


def compare_ids(tokenizer: Tokenizer, text: str, found: list[int]) -> None:
    """Raise ExportError unless these are the text's ids."""
    expected = encode_with_special_tokens(tokenizer, text)
    if expected != found:
        raise ExportError(
            f"the export's tokenizer gives other ids for {text[:40]!r}: {found[:12]} not {expected[:12]}"
        )
