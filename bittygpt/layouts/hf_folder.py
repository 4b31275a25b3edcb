"""Loads config, weights and tokenizer from a Hugging Face folder.

Everything that does not fit is found before the first weight is copied, and reported at once.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from bittygpt.core import TransformerLM
from bittygpt.errors import ConfigError, DataError
from bittygpt.layouts.hf_config import differences, read_model_config
from bittygpt.layouts.huggingface import is_rotated, layout_name, pairs_first
from bittygpt.tokenizer.tokenizer import Tokenizer
from bittygpt.tokenizer.tokenizer_json import vocabulary_of
from bittygpt.tokenizer.vocabulary import read_vocabulary

CONFIG, WEIGHTS, INDEX = "config.json", "model.safetensors", "model.safetensors.index.json"
FLOATS = {"F64", "F32", "F16", "BF16"}
NO_WEIGHT = "rotary_emb.inv_freq"  # a table that old versions of transformers wrote along
ROWS = ("token_embeddings.weight", "lm_head.weight")  # one for each token


def is_hf_folder(path: Path) -> bool:
    """Whether it is one, and no checkpoint or run of ours."""
    return (path / CONFIG).is_file() and not (path / "state.json").exists()


def copy_weights(
    folder: Path, model: TransformerLM, tokenizer: Tokenizer, asked_by: str, say: Callable[[str], None]
) -> None:
    """Copy a folder's weights into a model, whose tokenizer must give the tokens that they were trained with.

    Rows of embeddings are sorted as the tokenizer has its tokens; rows that no token has are left out.

    Raises:
        ConfigError: something there has no place in this model, or has another size; lists all.
    """
    theirs, faults = read_model_config(_json(folder / CONFIG, asked_by))
    if theirs is not None:
        faults += differences(theirs, model.config)
    ids_there, more = _ids_there(folder, tokenizer)
    if theirs is not None and not more:
        more = _vocabulary_faults(theirs.vocab_size, tokenizer, ids_there)
    files, still_more = _weight_files(folder, asked_by)
    faults += more + still_more
    if theirs is not None and not faults:
        faults += _shape_faults(files, model, theirs.vocab_size)
    if faults or theirs is None:
        raise ConfigError(f"{asked_by}: {folder} is another model: {'; '.join(faults)}")
    if ids_there is None:
        say(f"{folder} holds no tokenizer: its ids are taken to mean the run's tokens")
        ids_there = list(range(tokenizer.vocab_size))
    if theirs.vocab_size > tokenizer.vocab_size:
        say(f"{theirs.vocab_size - tokenizer.vocab_size} rows of {folder} that no token has are left out")
    _copy(files, model, torch.tensor(ids_there))


def _json(path: Path, asked_by: str) -> dict[str, Any]:
    try:
        return dict(json.loads(path.read_text("utf-8")))
    except OSError as error:
        raise ConfigError(f"{asked_by}: {path} cannot be read ({error.strerror})") from None
    except (ValueError, TypeError) as error:
        raise ConfigError(f"{asked_by}: {path} is no JSON object ({error})") from None


def _ids_there(folder: Path, tokenizer: Tokenizer) -> tuple[list[int] | None, list[str]]:
    """The id that each of our tokens has there, None if no tokenizer is there; and faults."""
    path = folder / "tokenizer.json"
    remedy = f"set tokenizer.vocab to {path}"
    if path.exists():
        try:
            found = vocabulary_of(json.loads(path.read_text("utf-8")), path)
        except (DataError, ValueError) as error:
            return None, [str(error)]
        if found.special_tokens != tokenizer.special_tokens:
            remedy += f" and tokenizer.special_tokens to {json.dumps(found.special_tokens)}"
        if found.tokens != tokenizer.vocabulary or found.special_tokens != tokenizer.special_tokens:
            return None, [f"its tokenizer has other tokens than the run's; {remedy}"]
        if tokenizer.encoding != "bpe":
            return None, [f"its tokenizer merges in order; set tokenizer.encoding to bpe, and {remedy}"]
        return found.ids_there, []
    if (folder / "vocab.json").exists():
        try:
            if read_vocabulary(folder / "vocab.json") == tokenizer.vocabulary:
                return list(range(tokenizer.vocab_size)), []
        except DataError as error:
            return None, [str(error)]
        return None, [f"it was trained on other tokens; set tokenizer.vocab to {folder / 'vocab.json'}"]
    if (folder / "tokenizer.model").exists():
        return None, [
            "its tokenizer is SentencePiece (tokenizer.model), and the tokenizers here are byte-level BPE"
        ]
    return None, []


def _vocabulary_faults(rows: int, tokenizer: Tokenizer, ids_there: list[int] | None) -> list[str]:
    """Whether every token has a row there; without a tokenizer, whether there are as many as tokens."""
    if ids_there is None and rows != tokenizer.vocab_size:
        return [f"vocab_size is {rows} there, and the vocabulary here has {tokenizer.vocab_size} entries"]
    if ids_there is not None and rows <= max(ids_there):
        return [f"vocab_size is {rows}, too few for token {max(ids_there)} of its own tokenizer"]
    return []


def _weight_files(folder: Path, asked_by: str) -> tuple[dict[str, Path], list[str]]:
    """In which file each weight lies, by their names; and which files are missing or damaged."""
    if (folder / INDEX).exists():
        names = sorted(set(_json(folder / INDEX, asked_by).get("weight_map", {}).values()))
    elif (folder / WEIGHTS).exists():
        names = [WEIGHTS]
    else:
        return {}, [f"it has neither {WEIGHTS} nor {INDEX} (other files of weights are not read)"]
    files: dict[str, Path] = {}
    faults = []
    for name in names:
        try:
            with safe_open(folder / name, "pt") as file:
                files |= {weight: folder / name for weight in file.keys()}  # noqa: SIM118
        except FileNotFoundError:
            faults.append(f"{name} is missing")
        except (SafetensorError, OSError) as error:
            faults.append(f"{name} cannot be read ({error})")
    return files, faults


def _shape_faults(files: dict[str, Path], model: TransformerLM, vocab_size: int) -> list[str]:
    """Weights that are missing, too many, or of another shape or kind."""
    expected = {
        layout_name(name): (vocab_size, *p.shape[1:]) if name in ROWS else tuple(p.shape)
        for name, p in model.named_parameters()
    }
    ignored = {"lm_head.weight"} if model.config.tie_embeddings else set()
    found = {name for name in files if not name.endswith(NO_WEIGHT)} - ignored
    faults = [f"{name} is missing" for name in sorted(expected.keys() - found)]
    faults += [f"{name} has no place in this model" for name in sorted(found - expected.keys())]
    for name in sorted(found & expected.keys()):
        with safe_open(files[name], "pt") as file:
            part = file.get_slice(name)
            shape, kind = tuple(part.get_shape()), part.get_dtype()
        if shape != expected[name]:
            faults.append(f"{name} is {shape} there and {expected[name]} here")
        if kind not in FLOATS:
            faults.append(f"{name} is stored as {kind}, and must be one of {', '.join(sorted(FLOATS))}")
    return faults


@torch.no_grad()
def _copy(files: dict[str, Path], model: TransformerLM, ids_there: Tensor) -> None:
    head_dim = model.config.d_model // model.config.num_heads
    for name, parameter in model.named_parameters():
        there = layout_name(name)
        with safe_open(files[there], "pt") as file:
            weight: Tensor = file.get_tensor(there)
        if is_rotated(name):
            weight = pairs_first(weight, head_dim)
        parameter.copy_(weight[ids_there] if name in ROWS else weight)
