"""Is the Hugging Face folder the trained model? It is loaded with transformers, offline, and compared."""

import copy
import importlib.util
import os
import warnings
from pathlib import Path
from typing import Any

import torch

from bittygpt.core import TransformerLM
from bittygpt.data.tokenizer import Tokenizer
from bittygpt.errors import ExportError
from bittygpt.export.comparison import (
    GREEDY_TOKENS,
    HARD_TEXTS,
    RELATIVE_TOLERANCE,
    TOLERANCE,
    Verification,
    compare_ids,
    compared_length,
    first_difference,
    greedy_text,
    kl_divergence_of,
    with_special_tokens,
)


def transformers_is_installed() -> bool:
    """Whether there is anything to compare with."""
    return importlib.util.find_spec("transformers") is not None


def verify_hf(folder: Path, model: TransformerLM, tokenizer: Tokenizer, dtype: torch.dtype) -> Verification:
    """Compare an exported folder with the model that it was made from, both in float32.

    Raises:
        ExportError: it does not load without complaint, or logits, greedy text or ids differ.
    """
    transformers = _import_transformers()
    ours = _rounded(model, dtype)
    try:
        theirs, complaints = transformers.AutoModelForCausalLM.from_pretrained(
            folder, dtype=torch.float32, local_files_only=True, output_loading_info=True
        )
    except Exception as error:  # whatever transformers raises, the export is no good
        raise ExportError(f"transformers cannot load the export: {type(error).__name__}: {error}") from error
    theirs.eval()
    for kind in ("missing_keys", "unexpected_keys", "mismatched_keys", "error_msgs"):
        if complaints.get(kind):
            raise ExportError(f"transformers reports {kind} in the export: {complaints[kind]}")
    difference, kl = _compare_logits(ours, theirs, tokenizer)
    _compare_greedy_text(ours, theirs, tokenizer)
    has_tokenizer = (folder / "tokenizer.json").exists()
    texts = _compare_tokenizers(transformers, folder, tokenizer) if has_tokenizer else None
    return Verification(difference, kl, compared_length(ours), texts)


def _import_transformers() -> Any:
    for variable in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"):
        os.environ[variable] = "1"  # a local folder is read; nothing is asked of a server
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            import transformers
        except Exception as error:  # installed, but not whole or for another version of something
            raise ExportError(
                f"transformers cannot be imported: {error}; repair it (pip install 'bittygpt[verify]'), or export "
                "unverified with --no-verify"
            ) from error
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    return transformers


def _rounded(model: TransformerLM, dtype: torch.dtype) -> TransformerLM:
    """The model with its weights rounded as in the file, on the CPU in float32: the layout is left to differ."""
    twin = copy.deepcopy(model).to("cpu").eval()
    for parameter in twin.parameters():
        parameter.data = parameter.data.to(dtype).float()
    return twin


@torch.inference_mode()
def _compare_logits(ours: TransformerLM, theirs: Any, tokenizer: Tokenizer) -> tuple[float, float]:
    """The largest difference and the KL divergence."""
    length = compared_length(ours)
    generator = torch.Generator().manual_seed(0)
    random_ids = torch.randint(0, ours.config.vocab_size, (2, length), generator=generator)
    text = [tokenizer.end_of_text_id, *tokenizer.encode("\n".join(HARD_TEXTS))][:length]
    pairs = [(ours(ids), theirs(ids).logits) for ids in (random_ids, torch.tensor([text]))]
    largest = torch.stack([(mine - other).abs().max() for mine, other in pairs]).max().item()  # keeps a NaN
    size = max(mine.abs().max().item() for mine, _ in pairs)
    tolerance = max(TOLERANCE, RELATIVE_TOLERANCE * size)
    if not largest <= tolerance:  # also when it is not a number
        raise ExportError(
            f"the export's logits differ by {largest:.2g}, more than {tolerance:.1g}: it is another model"
        )
    kl = sum(kl_divergence_of(mine, other) for mine, other in pairs) / len(pairs)
    return largest, kl


@torch.inference_mode()
def _compare_greedy_text(ours: TransformerLM, theirs: Any, tokenizer: Tokenizer) -> None:
    """Greedy text through transformers' own `generate`, with its cache, against ours without one."""
    end = tokenizer.end_of_text_id
    prompt = [end, *tokenizer.encode("Once upon")][: max(1, ours.config.context_length // 2)]
    count = min(GREEDY_TOKENS, ours.config.context_length - len(prompt))
    if count < 1:
        return
    expected, margins = greedy_text(ours, prompt, count, end)
    ids = torch.tensor([prompt])
    generated = theirs.generate(
        ids,
        attention_mask=torch.ones_like(ids),
        do_sample=False,
        max_new_tokens=count,
        repetition_penalty=1.0,
    )
    found = generated[0, len(prompt) :].tolist()
    if first_difference(expected, found, margins):
        return
    if len(found) != len(expected):
        raise ExportError(
            f"the export's greedy text ends after {len(found)} tokens, not after {len(expected)}: "
            "its generation_config.json has another end"
        )


def _compare_tokenizers(transformers: Any, folder: Path, tokenizer: Tokenizer) -> int:
    loaded = transformers.AutoTokenizer.from_pretrained(folder, local_files_only=True)
    texts = [*HARD_TEXTS, *with_special_tokens(tokenizer)]
    for text in texts:
        found = loaded(text, add_special_tokens=False)["input_ids"]
        compare_ids(tokenizer, text, found)
        if text and loaded.decode(found) != text:
            raise ExportError(f"the export's tokenizer does not give {text[:40]!r} back")
    return len(texts)
