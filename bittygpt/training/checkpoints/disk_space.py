"""Room for checkpoints: how much the next one takes and how much is free."""

import shutil
from pathlib import Path

from bittygpt.core import TransformerLM
from bittygpt.training.devices.memory import FLOAT, num_trainable

BESIDE_TENSORS = 2_000_000  # bytes: vocabulary, config, state; and what other processes write meanwhile


def checkpoint_bytes(model: TransformerLM, moments: int, in_parts: bool = False) -> int:
    """About what writing a checkpoint takes: the weights, and `moments` numbers for each that is trained.

    Where ranks write `in_parts`, the parts of a file lie beside the whole until this is complete.
    """
    weights, trained = model.num_parameters(), num_trainable(model)
    beside = max(weights, moments * trained) if in_parts else 0
    return FLOAT * (weights + moments * trained + beside) + BESIDE_TENSORS


def free_bytes(folder: Path) -> int:
    """What may still be written below a folder, or below where it will be made."""
    while not folder.exists():
        folder = folder.parent
    return shutil.disk_usage(folder).free
