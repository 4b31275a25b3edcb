"""Generation by the model itself, without a cache: it reads the whole text again for every token."""

from collections.abc import Sequence

import torch
from torch import Tensor

from bittygpt.core import TransformerLM


class Texts:
    """Takes the place of a cache: the tokens of each row in use."""

    def __init__(self) -> None:
        self.rows: list[list[int]] = []

    def copy(self, source: int, target: int, length: int) -> None:
        """Let one row, the next free one or one that is in use, hold what the first positions of another hold."""
        self.rows[target : target + 1] = [self.rows[source][:length]]

    def remove(self, row: int) -> None:
        """Free a row; the last one takes its place."""
        self.rows[row] = self.rows[-1]
        self.rows.pop()


class FormulaDecoder:
    """A decoder that calls the model itself: slower, and right for every model."""

    def __init__(self, model: TransformerLM, max_rows: int) -> None:
        self.model, self.config, self.max_rows = model, model.config, max_rows
        self.device = model.token_embeddings.weight.device

    def new_cache(self, _rows: int, _capacity: int) -> Texts:
        """Room for any number of texts."""
        return Texts()

    def read(self, ids: Sequence[int], cache: Texts, row: int) -> None:
        """Put tokens into a row, the next free one or one that is in use; there may be none."""
        cache.rows[row : row + 1] = [list(ids)]

    @torch.inference_mode()
    def step(self, ids: Sequence[int], cache: Texts) -> Tensor:
        """One new token for each row in use -> logits (B, V) float32 for the next. Rows do not affect each other."""
        for row, new in zip(cache.rows, ids, strict=True):
            row.append(new)
        return torch.cat(
            [self.model(torch.tensor([row], device=self.device))[:, -1].float() for row in cache.rows]
        )
