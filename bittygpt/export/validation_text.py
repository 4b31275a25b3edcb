"""A part of the validation text that a run was evaluated on, where its tokens still lie in `data.dir`."""

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from bittygpt.data.prepared import PreparedTokens, read_manifest
from bittygpt.errors import DataError
from bittygpt.tokenizer.tokenizer import Tokenizer

MOST_TOKENS = 1 << 16
WINDOWS = 4  # that logits are compared in


@dataclass(frozen=True)
class ValidationText:
    """The beginning of the validation split: its tokens, and the same as text, special tokens spelled out."""

    ids: list[int]
    text: str

    def windows(self, length: int) -> Tensor:
        """Some stretches of it (W, T), as far apart as they can be, of `length` tokens or of all there are."""
        length = min(length, len(self.ids))
        last = len(self.ids) - length
        starts = sorted({last * part // max(1, WINDOWS - 1) for part in range(WINDOWS)})
        return torch.tensor([self.ids[start : start + length] for start in starts])


def read_validation_text(folder: Path, tokenizer: Tokenizer) -> ValidationText:
    """What lies in a run's `data.dir`, `MOST_TOKENS` tokens of it at most.

    Raises:
        DataError: nothing lies there, or it was made with another vocabulary.
    """
    try:
        manifest = read_manifest(folder)
    except OSError as error:
        raise DataError(f"{folder} cannot be read ({error.strerror})") from None
    if manifest is None:
        raise DataError(f"there are no tokens in {folder}")
    if manifest["tokenizer"]["hash"] != tokenizer.hash():
        raise DataError(f"the tokens in {folder} are of another vocabulary")
    split = PreparedTokens(folder, manifest, tokenizer).split("val")
    if not split.num_tokens:
        raise DataError(f"{folder} holds none")
    ids = split.read(0, min(MOST_TOKENS, split.num_tokens)).tolist()
    return ValidationText(ids, tokenizer.decode(ids))
