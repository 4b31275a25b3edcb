"""The embedding with a deterministic backward pass."""

from typing import Any

import torch
from torch import Tensor

from bittygpt.core.embedding import Embedding
from bittygpt.engine.dispatch import is_plain, only_weight, product_dtype, runs_eagerly
from bittygpt.engine.formulas import Proof

PROOF = Proof("embedding.py:Embedding", "embedding.py:Embedding.forward")


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


class OrderedLookUp(torch.autograd.Function):
    """weight[ids] for a compiler, whose threads would sum up in whatever order: no run would repeat."""

    @staticmethod
    def forward(ctx: Any, weight_VD: Tensor, ids: Tensor) -> Tensor:
        ctx.save_for_backward(ids)
        ctx.num_embeddings = len(weight_VD)
        return weight_VD.index_select(0, ids.flatten()).view(*ids.shape, weight_VD.shape[1])

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        (ids,) = ctx.saved_tensors
        rows = grads[0].reshape(ids.numel(), grads[0].shape[-1])
        return sum_rows(rows, ids.flatten(), ctx.num_embeddings), None


class FusedEmbedding(Embedding):
    """The look-up; on a GPU in the precision of products, as in llm.c and nanochat.

    The sum through all layers then has that precision: norms and sums, which memory holds up on a GPU, have half as
    much to read and write.
    """

    formula = Embedding
    for_compiler = False

    def forward(self, ids: Tensor) -> Tensor:
        """ids (...) int64 -> rows (..., D)."""
        is_cuda = self.weight.is_cuda
        if torch.compiler.is_compiling():
            rows = OrderedLookUp.apply(self.weight, ids) if self.for_compiler else super().forward(ids)
        elif is_cuda and runs_eagerly() and only_weight(self) is not None and is_plain(ids) and PROOF.holds():
            rows = self.weight[ids]  # whose backward pass sorts, and so keeps an order
        else:
            return super().forward(ids)
        return rows.to(product_dtype(rows)) if is_cuda else rows

    def prepare_for_compile(self) -> None:
        """Decide for the compiler."""
        self.for_compiler = only_weight(self) is not None and PROOF.holds()
