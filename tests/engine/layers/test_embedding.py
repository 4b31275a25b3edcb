"""The look-up: what stands in for it on a GPU and in a compiler has the formula's gradient, summed up in one order."""

import pytest
import torch

from bittygpt.core import Embedding
from bittygpt.engine.accelerate import accelerate, prepare_for_compile
from bittygpt.engine.layers.embedding import OrderedLookUp, sum_rows


@pytest.mark.filterwarnings(
    "ignore:.*should not be instantiated:DeprecationWarning"
)  # PyTorch's own, compiling
@pytest.mark.parametrize("backend", ["aot_eager", "inductor"])
def test_a_compiled_embedding_has_torchs_gradient(backend):
    ours, ids = accelerate(Embedding(7, 4)), torch.randint(0, 7, (3, 5))
    prepare_for_compile(ours)
    weights = torch.randn(3, 5, 4)
    torch.compiler.reset()
    out = torch.compile(ours, backend=backend, fullgraph=True)(ids)
    oracle = torch.nn.functional.embedding(ids, ours.weight)
    torch.testing.assert_close(out, oracle)
    gradients = (torch.autograd.grad((y * weights).sum(), ours.weight)[0] for y in (out, oracle))
    torch.testing.assert_close(*gradients)


@pytest.mark.filterwarnings("ignore:.*should not be instantiated:DeprecationWarning")
@pytest.mark.parametrize("compiled", [False, True])
def test_rows_are_summed_up_in_the_same_order_every_time(compiled):
    """Whatever the threads are about: else no run would repeat bit for bit."""
    ours, ids = accelerate(Embedding(3, 64)), torch.randint(0, 3, (64, 64))
    prepare_for_compile(ours)
    weights, threads = torch.randn(64, 64, 64), torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        torch.compiler.reset()
        layer = torch.compile(ours) if compiled else ours
        first, *others = (
            torch.autograd.grad((layer(ids) * weights).sum(), ours.weight)[0] for _ in range(20)
        )
    finally:
        torch.set_num_threads(threads)
    assert all(torch.equal(first, other) for other in others)


def test_pytorch_knows_the_sum_of_rows():
    arguments = (torch.randn(5, 4), torch.randint(0, 7, (5,)), 7)
    torch.library.opcheck(sum_rows, arguments, test_utils=("test_schema", "test_faketensor"))


@pytest.mark.parametrize("shape", [(), (3,), (2, 5), (0,), (2, 0)])
def test_the_look_up_for_a_compiler_is_the_formula(shape):
    table, ids = Embedding(7, 4), torch.randint(0, 7, shape)
    rows, expected = OrderedLookUp.apply(table.weight, ids), table(ids)
    assert torch.equal(rows, expected)
    direction = torch.randn_like(rows)
    found, right = (torch.autograd.grad(y, table.weight, direction)[0] for y in (rows, expected))
    torch.testing.assert_close(found, right)
