"""What the verifications of all formats share: the texts that are compared, and the tolerances.

Shapes: V vocabulary.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path

import torch
from torch import Tensor

from bittygpt.core import TransformerLM, kl_divergence
from bittygpt.errors import ExportError
from bittygpt.export.huggingface.tokenizer import encode_with_special_tokens
from bittygpt.export.validation_text import ValidationText
from bittygpt.tokenizer.tokenizer import Tokenizer

TOLERANCE = 1e-4  # of a logit in float32; wrong epsilons show at 1e-2, wrong permutations at 10
RELATIVE_TOLERANCE = 1e-5  # of the largest logit, for models whose logits are large: float32 has seven digits
# by the precision that is computed in; where it is coarser than these, only the distributions compare
TOLERANCES = {"float32": (TOLERANCE, RELATIVE_TOLERANCE), "float16": (0.05, 2e-3)}
TOLERANCE_KL = 1e-3  # nats, for every dtype
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
        texts_compared: how many hard texts gave equal ids; None: there is no tokenizer to compare.
        validation_tokens: how many tokens of the run's validation text came out equal besides.
        remarks: what could not be compared, and why.
    """

    largest_difference: float
    kl_divergence: float
    positions_compared: int
    texts_compared: int | None
    validation_tokens: int = 0
    remarks: tuple[str, ...] = ()


def compared_length(model: TransformerLM) -> int:
    """How many positions are compared."""
    return min(model.config.context_length, COMPARED_POSITIONS)


def kl_divergence_of(ours: Tensor, theirs: Tensor) -> float:
    """The mean over all distributions of sum p log(p / q), nats, p and q given by logits (..., V)."""
    mean = kl_divergence(ours.double(), theirs.double()).mean()
    return mean.clamp(min=0).item()  # of equal ones, rounding may leave less than nothing


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


def compared_ids(
    model: TransformerLM, tokenizer: Tokenizer, validation: ValidationText | None
) -> list[Tensor]:
    """What logits are compared for, each (B, T): random ids, hard text, and the run's own validation text."""
    length = compared_length(model)
    generator = torch.Generator().manual_seed(0)
    random_ids = torch.randint(0, model.config.vocab_size, (2, length), generator=generator)
    text = [tokenizer.end_of_text_id, *tokenizer.encode("\n".join(HARD_TEXTS))][:length]
    own = [] if validation is None else [validation.windows(length)]
    return [random_ids, torch.tensor([text]), *own]


def compare_logits(pairs: Iterable[tuple[Tensor, Tensor]], dtype: str = "float32") -> tuple[float, float]:
    """The largest difference of our logits and theirs (..., V), computed in `dtype`, and their KL divergence.

    Raises:
        ExportError: they differ by more than rounding.
    """
    pairs = list(pairs)
    largest = torch.stack([(mine - other).abs().max() for mine, other in pairs]).max().item()  # keeps a NaN
    absolute, relative = TOLERANCES.get(dtype, (float("inf"), 0.0))
    tolerance = max(absolute, relative * max(mine.abs().max().item() for mine, _ in pairs))
    if not largest <= tolerance:  # also when it is not a number
        raise ExportError(
            f"the export's logits differ by {largest:.2g}, more than {tolerance:.1g}: it is another model"
        )
    kl = sum(kl_divergence_of(mine, other) for mine, other in pairs) / len(pairs)
    if not kl <= TOLERANCE_KL:
        raise ExportError(
            f"the export's distributions differ by {kl:.2g} nats, more than {TOLERANCE_KL:.0e}: it is another "
            f"model{'' if dtype == 'float32' else f', or bears no {dtype}: take float32'}"
        )
    return largest, kl


def greedy_start(model: TransformerLM, tokenizer: Tokenizer) -> tuple[list[int], int]:
    """A prompt, and how many tokens are to follow it; none where the context has no room."""
    context = model.config.context_length
    prompt = [tokenizer.end_of_text_id, *tokenizer.encode("Once upon")][: max(1, context // 2)]
    return prompt, min(GREEDY_TOKENS, context - len(prompt))


def with_special_tokens(tokenizer: Tokenizer) -> list[str]:
    """Texts with special tokens inside."""
    return [
        f"{before}{token}{after}" for token in tokenizer.special_tokens for before, after in AROUND_SPECIAL
    ]


def compare_ids(tokenizer: Tokenizer, text: str, found: list[int]) -> None:
    """Raise ExportError unless these are the text's ids."""
    expected = encode_with_special_tokens(tokenizer, text)
    if expected == found:
        return
    place = next(i for i, (mine, other) in enumerate(zip_longest(expected, found)) if mine != other)
    here = tokenizer.decode(expected[place : place + 12]) if place else text[:40]
    raise ExportError(
        f"the export's tokenizer gives other ids for {here!r}: {found[place : place + 12]} "
        f"not {expected[place : place + 12]}"
    )


def compare_tokenizer(
    tokenizer: Tokenizer, validation: ValidationText | None, encode: Callable[[str], list[int]]
) -> tuple[int, int]:
    """How many hard texts, and how many tokens of the validation text, `encode` gives the right ids for.

    Raises:
        ExportError: it gives others.
    """
    texts = [*HARD_TEXTS, *with_special_tokens(tokenizer)]
    for text in texts:
        compare_ids(tokenizer, text, encode(text))
    if validation is None:
        return len(texts), 0
    compare_ids(tokenizer, validation.text, encode(validation.text))
    return len(texts), len(validation.ids)


def compare_tokenizer_file(
    path: Path, tokenizer: Tokenizer, validation: ValidationText | None
) -> tuple[int | None, int, tuple[str, ...]]:
    """The same for a `tokenizer.json`, and remarks; there is nothing to compare if none was written.

    Raises:
        ExportError: it gives other ids.
    """
    if not path.exists():
        return None, 0, ()
    try:
        import tokenizers
    except ImportError:
        return None, 0, ("its tokenizer.json is not compared: tokenizers is not installed",)
    theirs = tokenizers.Tokenizer.from_file(str(path))
    texts, tokens = compare_tokenizer(
        tokenizer, validation, lambda text: list(theirs.encode(text, add_special_tokens=False).ids)
    )
    return texts, tokens, ()
