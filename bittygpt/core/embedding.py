"""Embedding: from a token id to a vector, by looking up a row.

Shapes: B batch, T positions, D d_model, V vocabulary.
"""

import torch
from torch import Tensor, nn


class Embedding(nn.Module):
    """A table with one learned row of D numbers for each of V tokens.

    Rows start as N(0, 1) cut at 3 standard deviations, unless `std` says otherwise (a table that is also the
    output projection needs smaller rows: see `TransformerLM`).

    Oracle: `torch.nn.Embedding`.
    """

    def __init__(self, num_embeddings: int, embedding_dim: int, std: float = 1.0) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(num_embeddings, embedding_dim))
        nn.init.trunc_normal_(self.weight, mean=0.0, std=std, a=-3 * std, b=3 * std)

    def forward(self, ids: Tensor) -> Tensor:
        """ids (...) int64 -> rows (..., D). The gradient of a row is the sum over all its uses.

        Raises:
            IndexError: an id outside of 0..V-1.
        """
        return self.weight.index_select(0, ids.flatten()).view(*ids.shape, self.weight.shape[1])
