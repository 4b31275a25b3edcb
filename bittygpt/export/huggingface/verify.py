"""Is the Hugging Face folder the trained model? It is loaded with transformers, offline, and compared."""

import copy
import importlib.util
import os
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from bittygpt.core import TransformerLM
from bittygpt.errors import ExportError
from bittygpt.export.comparison import (
    Verification,
    compare_logits,
    compare_tokenizer,
    compared_ids,
    compared_length,
    first_difference,
    greedy_start,
    greedy_text,
)
from bittygpt.export.huggingface.folder import DTYPES
from bittygpt.export.validation_text import ValidationText
from bittygpt.tokenizer.tokenizer import Tokenizer


def transformers_is_installed() -> bool:
    """Whether there is anything to compare with."""
    return importlib.util.find_spec("transformers") is not None


def verify_hf(
    folder: Path,
    model: TransformerLM,
    tokenizer: Tokenizer,
    dtype: str,
    validation: ValidationText | None = None,
) -> Verification:
    """Compare an exported folder, loaded in float32, with the model that it was made from.

    Raises:
        ExportError: it does not load without complaint, or logits, greedy text or ids differ.
    """
    transformers = _import_transformers()
    ours = model.to("cpu").float().eval()
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
    with torch.inference_mode():
        asked = compared_ids(ours, tokenizer, validation)
        found = [theirs(ids).logits for ids in asked]
        # rounding would hide a wrong layout, but not from a model that is rounded as well
        if dtype != "float32":
            rounded = _rounded(ours, DTYPES[dtype])
            compare_logits((rounded(ids), logits) for ids, logits in zip(asked, found, strict=True))
        difference, kl = compare_logits(
            ((ours(ids), logits) for ids, logits in zip(asked, found, strict=True)), dtype
        )
        if dtype == "float32":  # elsewhere rounding may choose another token, and all after it differ
            _compare_greedy_text(ours, theirs, tokenizer)
    texts, tokens = None, 0
    if (folder / "tokenizer.json").exists():
        texts, tokens = compare_tokenizer(tokenizer, validation, _encoder(transformers, folder))
    return Verification(difference, kl, compared_length(ours), texts, tokens)


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
    """The model with its weights rounded as in the file, in float32: the layout is left to differ."""
    rounded = copy.deepcopy(model)
    for parameter in rounded.parameters():
        parameter.data = parameter.data.to(dtype).float()
    return rounded


def _compare_greedy_text(ours: TransformerLM, theirs: Any, tokenizer: Tokenizer) -> None:
    """Greedy text through transformers' own `generate`, with its cache, against ours without one."""
    end = tokenizer.end_of_text_id
    prompt, count = greedy_start(ours, tokenizer)
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


def _encoder(transformers: Any, folder: Path) -> Callable[[str], list[int]]:
    """Text to ids with the folder's tokenizer, which must also give the text back."""
    loaded = transformers.AutoTokenizer.from_pretrained(folder, local_files_only=True)

    def encode(text: str) -> list[int]:
        ids: list[int] = loaded(text, add_special_tokens=False)["input_ids"]
        if text and loaded.decode(ids) != text:
            raise ExportError(f"the export's tokenizer does not give {text[:40]!r} back")
        return ids

    return encode
