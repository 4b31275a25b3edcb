"""Embedding: from a token id to a vector, by looking up a row.

Shapes: B batch, T positions, D d_model, V vocabulary.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from bittygpt.core.twins import call, use_twin


class LookUpTwin(torch.autograd.Function):
    """weight[ids] with its backward pass by hand: each row gets the sum of the gradients of its uses.

    PyTorch's own, which can write to any indices, takes eight times as long on a CPU. Not for a GPU: additions in
    parallel are done in another order each time there, and no run would repeat.
    """

    @staticmethod
    def forward(ctx: Any, weight_VD: Tensor, ids: Tensor) -> Tensor:
        ctx.save_for_backward(ids)
        ctx.num_embeddings = len(weight_VD)
        return weight_VD[ids]

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        (ids,) = ctx.saved_tensors
        rows = grads[0].reshape(ids.numel(), -1)
        return rows.new_zeros(ctx.num_embeddings, rows.shape[1]).index_add_(0, ids.flatten(), rows), None


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
        """ids (...) int64 -> rows (..., D). An id outside 0..V-1 raises IndexError on the CPU."""
        if use_twin() and self.weight.is_cpu:
            return call(LookUpTwin, self.weight, ids)
        return self.weight[ids]
