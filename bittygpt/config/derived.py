"""Values of a config that follow from others where the file gives none."""

import math
from collections.abc import Mapping
from typing import Any

from bittygpt.config.core_names import default_d_ff, lr_beside_adamw

DEFAULT_VOCAB_SIZE = 10_000
DEFAULT_TRAIN_BYTES = 100_000_000
DEFAULT_VAL_FRACTION = 0.05
DEFAULT_MAX_STEPS = 2000
MOST_WARMUP_STEPS = 1000


def fill_derived(values: Mapping[str, dict[str, Any]]) -> None:
    """Fill in, in place, every value that is null and follows from others. Needs all seven sections."""
    data, tokenizer, model = values["data"], values["tokenizer"], values["model"]
    optim, train = values["optim"], values["train"]
    _fill(values["run"], "name", "run")
    _fill(data, "dir", f"data/{values['run']['name']}")
    _fill(data, "val_fraction", 0.0 if data["val"] else DEFAULT_VAL_FRACTION)
    if tokenizer["vocab"] is None:
        _fill(tokenizer, "vocab_size", DEFAULT_VOCAB_SIZE)
        _fill(tokenizer, "train_bytes", DEFAULT_TRAIN_BYTES)
    _fill(model, "num_kv_heads", model["num_heads"])
    _fill(model, "d_ff", default_d_ff(_count_or_1(model["d_model"]), model["activation"]))
    _fill(optim, "lr", _default_lr(optim["name"], _count_or_1(model["d_model"])))
    _fill(optim, "min_lr", _float_or_1(optim["lr"]) / 10)
    _fill_max_steps(train, _count_or_1(train["batch_size"]) * _count_or_1(model["context_length"]))
    if train["time_budget"] is None:  # else nobody knows how many steps there will be
        _fill(optim, "warmup_steps", min(max(1, _count_or_1(train["max_steps"]) // 20), MOST_WARMUP_STEPS))


def _default_lr(name: str, d_model: int) -> float:
    """A learning rate that needs no tuning; `make sweep` shows the losses around it, at several widths.

    A step of AdamW moves every entry of a matrix by about lr, so the product with a vector by up to lr · D; a step of
    Muon moves that product by about lr · sqrt(D). For a wide model to change as much as a narrow one, lr falls as
    1 / D or as 1 / sqrt(D) (Yang et al. 2022, "Tensor programs V"; Bernstein & Newhouse 2024).
    """
    if name == "sgd":
        return 0.1
    lr = 0.3 / math.sqrt(d_model) if name == "muon" else 0.6 / d_model * lr_beside_adamw(name)
    return float(f"{lr:.2g}")  # two digits: a number to be read, to be changed


def _fill_max_steps(train: dict[str, Any], tokens_per_step: int) -> None:
    """Turn max_tokens into max_steps, so that there is one length of a run to read, to save and to compare.

    A run with a time budget may go without: the clock ends it.
    """
    if train["max_steps"] is not None:
        return
    max_tokens = train["max_tokens"]
    train["max_steps"] = DEFAULT_MAX_STEPS if train["time_budget"] is None else None
    if max_tokens is not None and _count_or_1(max_tokens) == max_tokens:
        train["max_steps"] = -(-max_tokens // tokens_per_step)
        train["max_tokens"] = None


def _fill(section: dict[str, Any], key: str, value: Any) -> None:
    if section.get(key) is None:
        section[key] = value


def _count_or_1(value: Any) -> int:
    """`value` where it is a count; 1 where it is at fault, which is reported elsewhere."""
    return value if type(value) is int and value > 0 else 1


def _float_or_1(value: Any) -> float:
    """`value` where it is a number; 1.0 where it is at fault, which is reported elsewhere."""
    try:
        return float(value) if type(value) in (int, float) else 1.0
    except OverflowError:
        return 1.0
