"""Room for checkpoints: how much the next one takes, how much is free, and what a full disk's error looks like."""

import shutil
from pathlib import Path

from safetensors import SafetensorError

from bittygpt.core import TransformerLM
from bittygpt.files import DISK_FULL
from bittygpt.training.memory import FLOAT, num_trained

BESIDE_TENSORS = 2_000_000  # bytes: vocabulary, config, state; and what other processes write meanwhile


def checkpoint_bytes(model: TransformerLM, moments: int, in_parts: bool = False) -> int:
    """About what writing a checkpoint takes: the weights, and `moments` numbers for each that is trained.

    Where ranks write `in_parts`, the parts of a file lie beside the whole until this is complete.
    """
    weights, trained = model.num_parameters(), num_trained(model)
    beside = max(weights, moments * trained) if in_parts else 0
    return FLOAT * (weights + moments * trained + beside) + BESIDE_TENSORS


def free_bytes(folder: Path) -> int:
    """What may still be written below a folder, or below where it will be made."""
    while not folder.exists():
        folder = folder.parent
    return shutil.disk_usage(folder).free


def is_disk_full(error: BaseException) -> bool:
    """Whether a write failed for want of room or quota; safetensors and torch say so in errors of their own."""
    if isinstance(error, OSError):
        return error.errno in DISK_FULL
    if error.__cause__ is not None and is_disk_full(error.__cause__):
        return True
    text = str(error)
    return isinstance(error, SafetensorError | RuntimeError) and (
        "No space left" in text
        or "quota exceeded" in text
        or any(f"os error {number}" in text for number in DISK_FULL)
    )
