"""Is the exported model the trained model? It is loaded with transformers, offline, and compared."""

import copy
import importlib.util
import os
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from bittygpt.core import TransformerLM
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
        largest_difference: of a logit.
        positions_compared: from the start of each sequence.
        texts_compared: how many gave equal ids; None: there is no tokenizer to compare.
    """

    largest_difference: float
    positions_compared: int
    texts_compared: int | None


def transformers_is_installed() -> bool:
    """Whether there is anything to compare with."""
    return importlib.util.find_spec("transformers") is not None


def verify(folder: Path, model: TransformerLM, tokenizer: Tokenizer, dtype: torch.dtype) -> Verification:
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
    difference = _compare_logits(ours, theirs, tokenizer)
    _compare_greedy_text(ours, theirs, tokenizer)
    has_tokenizer = (folder / "tokenizer.json").exists()
    texts = _compare_tokenizers(transformers, folder, tokenizer) if has_tokenizer else None
    return Verification(difference, _compared_length(ours), texts)


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


def _compared_length(model: TransformerLM) -> int:
    return min(model.config.context_length, COMPARED_POSITIONS)


@torch.inference_mode()
def _compare_logits(ours: TransformerLM, theirs: Any, tokenizer: Tokenizer) -> float:
    length = _compared_length(ours)
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
    return largest


@torch.inference_mode()
def _compare_greedy_text(ours: TransformerLM, theirs: Any, tokenizer: Tokenizer) -> None:
    """Greedy text through transformers' own `generate`, with its cache, against ours without one."""
    end = tokenizer.end_of_text_id
    prompt = [end, *tokenizer.encode("Once upon")][: max(1, ours.config.context_length // 2)]
    count = min(GREEDY_TOKENS, ours.config.context_length - len(prompt))
    if count < 1:
        return
    expected, margins = _greedy(ours, prompt, count, end)
    ids = torch.tensor([prompt])
    generated = theirs.generate(
        ids,
        attention_mask=torch.ones_like(ids),
        do_sample=False,
        max_new_tokens=count,
        repetition_penalty=1.0,
    )
    found = generated[0, len(prompt) :].tolist()
    for place, (mine, other) in enumerate(zip(expected, found, strict=False)):
        if mine != other and margins[place] > 2 * TOLERANCE:  # nearer than that, rounding may choose either
            raise ExportError(
                f"the export's greedy text differs at token {place + 1}: {other} instead of {mine}"
            )
        if mine != other:
            return
    if len(found) != len(expected):
        raise ExportError(
            f"the export's greedy text ends after {len(found)} tokens, not after {len(expected)}: "
            "its generation_config.json has another end"
        )


def _greedy(model: TransformerLM, prompt: list[int], count: int, end: int) -> tuple[list[int], list[float]]:
    """The likeliest token, `count` times or until the end, and how far it led before the second."""
    ids, margins = list(prompt), []
    for _ in range(count):
        best = model(torch.tensor([ids]))[0, -1].topk(2)
        ids.append(int(best.indices[0]))
        margins.append(float(best.values[0] - best.values[1]))
        if ids[-1] == end:
            break
    return ids[len(prompt) :], margins


def _compare_tokenizers(transformers: Any, folder: Path, tokenizer: Tokenizer) -> int:
    loaded = transformers.AutoTokenizer.from_pretrained(folder, local_files_only=True)
    special = [
        f"{before}{token}{after}" for token in tokenizer.special_tokens for before, after in AROUND_SPECIAL
    ]
    texts = [*HARD_TEXTS, *special]
    for text in texts:
        expected = encode_with_special_tokens(tokenizer, text)
        found = loaded(text, add_special_tokens=False)["input_ids"]
        if expected != found:
            raise ExportError(
                f"the export's tokenizer gives other ids for {text[:40]!r}: {found[:12]} not {expected[:12]}"
            )
        if text and loaded.decode(found) != text:
            raise ExportError(f"the export's tokenizer does not give {text[:40]!r} back")
    return len(texts)
