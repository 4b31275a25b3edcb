"""Is the GGUF file the trained model? llama.cpp reads it, and what it says is compared."""

from pathlib import Path

import torch
from torch import Tensor

from bittygpt.core import TransformerLM
from bittygpt.errors import ExportError
from bittygpt.export.comparison import (
    GREEDY_TOKENS,
    HARD_TEXTS,
    RELATIVE_TOLERANCE,
    TOLERANCE_KL,
    Verification,
    compare_ids,
    compared_length,
    first_difference,
    greedy_text,
    kl_divergence_of,
    with_special_tokens,
)
from bittygpt.export.gguf.llama_cpp import ask_llama_cpp
from bittygpt.export.validation_text import ValidationText
from bittygpt.tokenizer.tokenizer import Tokenizer

# Of a log-probability, and as a share of the largest logit, as floating point has so many digits. llama.cpp rounds what
# goes into a product to the precision of its weights; where that is coarser, only the distributions compare.
TOLERANCES = {"float32": (2e-4, RELATIVE_TOLERANCE), "float16": (0.05, 2e-3)}
OWN_TEXT = 64  # tokens


@torch.inference_mode()
def verify_gguf(
    path: Path,
    model: TransformerLM,
    tokenizer: Tokenizer,
    dtype: str,
    validation: ValidationText | None = None,
) -> Verification:
    """Compare an exported file with the model that it was made from.

    Raises:
        ExportError: llama.cpp cannot read it, or logits, greedy text or ids differ.
    """
    ours = model.to("cpu").float().eval()
    end = tokenizer.end_of_text_id
    length = compared_length(ours) - 1  # llama.cpp wants room for the token after a prompt
    if length < 1:
        raise ExportError("a context of one token leaves nothing to compare; export with --no-verify")
    start = [end, *tokenizer.encode("Once upon")][: max(1, length // 2)]
    hard, own = _prompts(ours, tokenizer, length), _own_prompts(ours, end, length, validation)
    texts = [*HARD_TEXTS, *with_special_tokens(tokenizer)]
    own_texts = [] if validation is None else [validation.text]
    count = min(GREEDY_TOKENS, length - len(start))
    answers = ask_llama_cpp(
        path,
        {
            "vocab_size": ours.config.vocab_size,
            "letter": tokenizer.encode("a")[0],
            "prompts": hard + own,
            "texts": texts + own_texts,
            "greedy": start,
            "count": count,
        },
    )
    logits = torch.stack([ours(torch.tensor([ids]))[0, -1] for ids in hard + own])
    largest, kl = _compare_distributions(logits, torch.tensor(answers["logprobs"]), dtype, len(hard))
    if dtype == "float32":  # elsewhere rounding may choose another token, and all after it differ
        expected, margins = greedy_text(ours, start, count, end)
        first_difference(expected, answers["greedy"], margins)
    for text, found in zip(texts + own_texts, answers["tokens"], strict=True):
        compare_ids(tokenizer, text, found)
    return Verification(largest, kl, length, len(texts), len(validation.ids) if validation else 0)


def _prompts(model: TransformerLM, tokenizer: Tokenizer, length: int) -> list[list[int]]:
    """Random ids and hard text, at which mistakes show, each cut at three places."""
    generator = torch.Generator().manual_seed(0)
    random_ids = torch.randint(0, model.config.vocab_size, (length,), generator=generator).tolist()
    text = [tokenizer.end_of_text_id, *tokenizer.encode("\n".join(HARD_TEXTS))][:length]
    return [ids[:count] for ids in (random_ids, text) for count in sorted({1, length // 3 + 1, length})]


def _own_prompts(
    model: TransformerLM, first: int, length: int, validation: ValidationText | None
) -> list[list[int]]:
    """Text of the kind that the model is for, cut at some places: elsewhere no one asks how well it is rounded.

    It is the run's validation text, or what the model itself writes.
    """
    ids = [first] if validation is None else validation.ids[: min(length, OWN_TEXT)]
    generator = torch.Generator().manual_seed(0)
    while validation is None and len(ids) < min(length, OWN_TEXT):
        probabilities = model(torch.tensor([ids]))[0, -1].softmax(-1)
        ids.append(int(torch.multinomial(probabilities, 1, generator=generator)))
    return [ids[:count] for count in range(1, len(ids) + 1, 4)]


def _compare_distributions(logits: Tensor, logprobs: Tensor, dtype: str, hard: int) -> tuple[float, float]:
    """The largest difference of a log-probability, and the KL divergence, the first `hard` prompts left out of that.

    Logits are ours, log-probabilities theirs (prompts, V).
    """
    largest = (logits.log_softmax(-1) - logprobs).abs().max().item()
    absolute, relative = TOLERANCES.get(dtype, (float("inf"), 0.0))
    tolerance = max(absolute, relative * logits.abs().max().item())
    if not largest <= tolerance:  # also when it is not a number
        raise ExportError(
            f"the export's log-probabilities differ by {largest:.2g}, more than {tolerance:.1g}: it is another model"
        )
    kl = kl_divergence_of(logits[hard:], logprobs[hard:])
    if not kl <= TOLERANCE_KL:
        remedy = ", or bears no q8_0: take float16" if dtype == "q8_0" else ""
        raise ExportError(
            f"the export's distributions differ by {kl:.2g} nats, more than {TOLERANCE_KL:.0e}: it is another "
            f"model{remedy}"
        )
    return largest, kl
