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
        return weight_VD.index_select(0, ids.flatten()).view(*ids.shape, -1)  # refuses an id below 0

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        (ids,) = ctx.saved_tensors
        rows = grads[0].reshape(ids.numel(), -1)
        return rows.new_zeros(ctx.num_embeddings, rows.shape[1]).index_add_(0, ids.flatten(), rows), None


# An operation of PyTorch's, so that `torch.compile` calls it as it stands.
@torch.library.custom_op("bittygpt::sum_rows", mutates_args=())
def sum_rows(rows_ND: Tensor, ids_N: Tensor, num_embeddings: int) -> Tensor:
    """(V, D): of each token the sum of its rows, always in the same order, on a CPU and on a GPU."""
    sums = rows_ND.new_zeros(num_embeddings, rows_ND.shape[1])
    if sums.is_cpu:  # of the two below, each keeps an order where it is taken, and not where the other is
        return sums.index_add_(0, ids_N, rows_ND)
    return sums.index_put_((ids_N,), rows_ND, accumulate=True)


@sum_rows.register_fake
def _(rows_ND: Tensor, _: Tensor, num_embeddings: int) -> Tensor:
    return rows_ND.new_empty(num_embeddings, rows_ND.shape[1])


class OrderedLookUpTwin(LookUpTwin):
    """The same for a compiler, whose threads would sum up in whatever order: no run would repeat."""

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        (ids,) = ctx.saved_tensors
        return sum_rows(grads[0].reshape(ids.numel(), -1), ids.flatten(), ctx.num_embeddings), None


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
        """ids (...) int64 -> rows (..., D).

        On a CPU an id outside 0..V-1 raises IndexError; the formula alone counts a negative one from the end, and sums
        the gradients of a row in whatever order threads come to them.
        """
        if use_twin() and self.weight.is_cpu:
            return call(LookUpTwin, self.weight, ids)
        if torch.compiler.is_compiling():
            return call(OrderedLookUpTwin, self.weight, ids)
        return self.weight[ids]
