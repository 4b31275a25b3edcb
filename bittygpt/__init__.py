"""bittygpt trains a GPT from a text file. Importing it does nothing; torch is imported when it is needed."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from bittygpt.core import TransformerLM
    from bittygpt.tokenizer.tokenizer import Tokenizer

__all__ = ["__version__", "load"]


def __getattr__(name: str) -> str:
    if name != "__version__":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib.metadata import PackageNotFoundError, version  # 30 ms that only --version needs

    try:
        return version("bittygpt")
    except PackageNotFoundError:  # a source tree on the path that nobody installed
        return "0+unknown"


def load(path: "str | Path", device: str = "cpu") -> "tuple[TransformerLM, Tokenizer]":
    """Load a model and its tokenizer from a run (`runs/NAME`, `runs/NAME:best`) or a checkpoint folder.

    Returns:
        The model in evaluation mode on `device` (ids (B, T) int64 -> logits (B, T, V) float32), and the tokenizer
        (`encode(text) -> list[int]`, `decode(ids) -> str`).

    Raises:
        CheckpointError: nothing complete and undamaged lies at `path`.
    """
    from bittygpt.training.checkpoints.checkpoint import load_model

    return load_model(path, device)
