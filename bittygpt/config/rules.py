"""Which keys of a config clash.

The rules work on plain values (section -> key -> value), so that they can still be checked where other keys of the same
file are at fault: all faults are reported at once.
"""

from collections.abc import Callable, Collection, Mapping
from typing import Any, NamedTuple

END_OF_TEXT = "<|endoftext|>"
NUM_BYTES = 256


class RuleFault(NamedTuple):
    """Keys that clash (dotted, the one to blame first), and what to do about it."""

    keys: tuple[str, ...]
    message: str


def _name_is_a_folder(name: str) -> str | None:
    bad = sorted(set(name) & set('/\\:*?"<>|') | {c for c in name if not c.isprintable()})
    if not bad and name.strip(". "):
        return None
    what = f"the character {bad[0]!r}" if bad else "nothing but dots and spaces"
    return f"holds {what}, but becomes a folder's name; take letters, digits, '-', '_' and '.'"


def _val_or_fraction(val: Collection[str], val_fraction: float) -> str | None:
    if not val or val_fraction == 0:
        return None
    return "data.val and data.val_fraction both say what to validate on; keep one of them"


def _vocab_is_finished(vocab: str | None, vocab_size: int | None, train_bytes: int | None) -> str | None:
    if vocab is None or (vocab_size is None and train_bytes is None):
        return None
    useless = "vocab_size" if vocab_size is not None else "train_bytes"
    return f"tokenizer.vocab is a finished vocabulary, none is trained; remove tokenizer.{useless}"


def _vocab_holds_all_bytes(vocab_size: int | None, special_tokens: Collection[str]) -> str | None:
    least = NUM_BYTES + len(special_tokens)
    if vocab_size is None or vocab_size >= least:
        return None
    return (
        f"vocab_size {vocab_size} is too small for {NUM_BYTES} bytes and {len(special_tokens)} special "
        f"token{'s' * (len(special_tokens) != 1)}; take {least} or more"
    )


def _special_tokens_complete(special_tokens: tuple[str, ...]) -> str | None:
    twice = [token for i, token in enumerate(special_tokens) if token in special_tokens[:i]]
    if twice:
        return f"{twice[0]} stands twice; keep one of them"
    for token in special_tokens:
        if len(token.encode("utf-8", "replace")) == 1:
            return f"{token!r} is a single byte, which has an entry of its own; take a longer one"
    if END_OF_TEXT not in special_tokens:
        return f"{END_OF_TEXT} is missing, which ends every document; add it"
    return None


def _heads_divide_width(d_model: int, num_heads: int) -> str | None:
    step = 2 * num_heads
    if d_model % step == 0:
        return None
    cause = f"d_model {d_model} is not a multiple of num_heads {num_heads}"
    if d_model % num_heads == 0:
        cause = f"heads of d_model {d_model} / num_heads {num_heads} have an odd width, but RoPE turns pairs"
    nearest = [str(width) for width in (d_model // step * step, d_model // step * step + step) if width]
    return f"{cause}; take d_model {' or '.join(nearest)}"


def _kv_heads_divide_heads(num_heads: int, num_kv_heads: int) -> str | None:
    if num_heads % num_kv_heads == 0:
        return None
    return (
        f"num_heads {num_heads} is not a multiple of num_kv_heads {num_kv_heads}: each key and value head "
        "serves a group of query heads; take a divisor of num_heads"
    )


def _min_lr_below_lr(min_lr: float, lr: float) -> str | None:
    return f"min_lr {min_lr:g} is above lr {lr:g}; take {lr:g} or less" if min_lr > lr else None


def _warmup_within_run(warmup_steps: int | None, max_steps: int | None, *_sizes: Any) -> str | None:
    if warmup_steps is None or max_steps is None or warmup_steps <= max_steps:
        return None
    return f"warmup_steps {warmup_steps} is more than the run's {max_steps} steps; take {max_steps} or fewer"


def _micro_batches_fill_batch(micro_batch_size: int | str, batch_size: int) -> str | None:
    if isinstance(micro_batch_size, str) or batch_size % micro_batch_size == 0:
        return None
    return (
        f"batch_size {batch_size} is not a multiple of micro_batch_size {micro_batch_size}; "
        "take a divisor of batch_size, or auto"
    )


def _steps_or_tokens(max_steps: int | None, max_tokens: int | None) -> str | None:
    if max_steps is None or max_tokens is None:
        return None
    return "max_steps and max_tokens both say how long to train; set one of them to null"


def _ignored_are_special(ignore_tokens: Collection[str], special_tokens: Collection[str]) -> str | None:
    unknown = [token for token in ignore_tokens if token not in special_tokens]
    if not unknown:
        return None
    return f"{unknown[0]!r} is not among tokenizer.special_tokens; add it there or remove it here"


def _trainable_needs_weights(trainable: Collection[str], init_from: str | None) -> str | None:
    if not trainable or init_from is not None:
        return None
    return (
        "freezing all but some weights needs trained ones to start from; set train.init_from to a checkpoint"
    )


# The keys are the arguments, in order. A rule is skipped where one of its keys is at fault by itself.
RULES: tuple[tuple[Callable[..., str | None], tuple[str, ...]], ...] = (
    (_name_is_a_folder, ("run.name",)),
    (_val_or_fraction, ("data.val", "data.val_fraction")),
    (_vocab_is_finished, ("tokenizer.vocab", "tokenizer.vocab_size", "tokenizer.train_bytes")),
    (_vocab_holds_all_bytes, ("tokenizer.vocab_size", "tokenizer.special_tokens")),
    (_special_tokens_complete, ("tokenizer.special_tokens",)),
    (_heads_divide_width, ("model.d_model", "model.num_heads")),
    (_kv_heads_divide_heads, ("model.num_heads", "model.num_kv_heads")),
    (_min_lr_below_lr, ("optim.min_lr", "optim.lr")),
    (
        _warmup_within_run,
        (
            "optim.warmup_steps",
            "train.max_steps",
            "train.max_tokens",
            "train.batch_size",
            "model.context_length",
        ),
    ),
    (_micro_batches_fill_batch, ("train.micro_batch_size", "train.batch_size")),
    (_steps_or_tokens, ("train.max_steps", "train.max_tokens")),
    (_ignored_are_special, ("train.ignore_tokens", "tokenizer.special_tokens")),
    (_trainable_needs_weights, ("train.trainable", "train.init_from")),
)


def rule_faults(values: Mapping[str, Mapping[str, Any]], at_fault: Collection[str] = ()) -> list[RuleFault]:
    """All clashes between the keys of `values` (complete, see `fill_derived`) that are not `at_fault` themselves."""
    faults = []
    for rule, keys in RULES:
        if not any(key in at_fault for key in keys):
            message = rule(*(values[section][key] for section, key in (name.split(".") for name in keys)))
            if message is not None:
                faults.append(RuleFault(keys, message))
    return faults
