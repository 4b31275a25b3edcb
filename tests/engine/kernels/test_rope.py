"""The kernel of RoPE against the formula and autograd, alone and inside attention."""

import pytest
import torch

from bittygpt.core import MultiHeadAttention, RotaryEmbedding
from bittygpt.core.rope import apply_rotary as formula
from bittygpt.engine.accelerate import accelerate, prepare_for_compile
from bittygpt.engine.layers import attention as fast_attention

pytest.importorskip("triton", reason="Triton is not installed: it is there for Linux on x86-64 alone")
from bittygpt.engine.kernels import rope as kernels

# Where there is a GPU Triton is not interpreted, and the same tests run there.
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
SHAPES = [(1, 1, 2), (2, 2, 8), (3, 3, 6), (4, 1, 16), (6, 2, 10)]  # heads, key/value heads, head dimension


def parted(projected, num_heads, num_kv_heads, head_dim):
    """Queries, keys, values (B, heads, T, d)."""
    vectors = projected.unflatten(-1, (-1, head_dim))
    return [x.transpose(1, 2) for x in vectors.split((num_heads, num_kv_heads, num_kv_heads), dim=2)]


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize(
    ("dtype", "rounding"),  # Triton's interpreter cuts a number off where a GPU rounds it
    [(torch.float32, 1e-5), (torch.bfloat16, 2**-7)],
    ids=["fp32", "bf16"],
)
def test_it_rotates_as_the_formula_does_and_back(shape, dtype, rounding):
    num_heads, num_kv_heads, head_dim = shape
    cos_sin = RotaryEmbedding(head_dim, 5).cos_sin.to(DEVICE)
    projected = torch.randn(2, 5, (num_heads + 2 * num_kv_heads) * head_dim, device=DEVICE).to(dtype)
    exact = projected.float().requires_grad_()
    q, k, v = parted(exact, *shape)
    expected = [formula(q, cos_sin), formula(k, cos_sin), v]
    found = kernels.rotate(projected, cos_sin, num_heads, num_kv_heads)
    for mine, theirs in zip(found, expected, strict=False):
        torch.testing.assert_close(
            mine.transpose(1, 2).float(), theirs.detach(), atol=rounding, rtol=rounding
        )

    grads = [torch.randn_like(x).to(dtype) for x in expected]
    (gradient,) = torch.autograd.grad(expected, exact, [g.float() for g in grads])
    back = kernels.rotate_back(*(g.transpose(1, 2) for g in grads), cos_sin)
    torch.testing.assert_close(back.float(), gradient, atol=rounding, rtol=rounding)


def test_pytorch_knows_their_results():
    cos_sin = RotaryEmbedding(8, 5).cos_sin.to(DEVICE)
    known = ("test_schema", "test_faketensor")
    projected = torch.randn(2, 5, 64, device=DEVICE)
    torch.library.opcheck(kernels.rotate_as_operation, (projected, cos_sin, 4, 2), test_utils=known)
    grads = [torch.randn(2, 5, heads, 8, device=DEVICE) for heads in (4, 2, 2)]
    torch.library.opcheck(kernels.rotate_back_as_operation, (*grads, cos_sin), test_utils=known)


@pytest.fixture
def launches(monkeypatch):
    """The kernel is chosen as on a GPU; its launches are listed."""
    listed, launch = [], kernels._launch
    monkeypatch.setattr(fast_attention, "work_on", lambda _: True)
    monkeypatch.setattr(kernels, "_launch", lambda *a, back: listed.append(back) or launch(*a, back=back))
    return listed


def a_pass(attention, x, weights):
    """The output and the gradients of x and of every weight."""
    y = attention(x)
    return y, *torch.autograd.grad((y * weights).sum(), [x, *attention.parameters()])


@pytest.mark.filterwarnings("ignore:.*should not be instantiated:DeprecationWarning")  # PyTorch's, compiling
@pytest.mark.parametrize("compiled", [False, True], ids=["eager", "compiled"])
def test_attention_computes_with_it(compiled, launches):
    torch.compiler.reset()
    attention = MultiHeadAttention(24, 3, num_kv_heads=1, rope=RotaryEmbedding(8, 16)).to(DEVICE)
    x, weights = torch.randn(2, 2, 5, 24, device=DEVICE)
    x.requires_grad_()
    expected = a_pass(attention, x, weights)
    prepare_for_compile(accelerate(attention))
    fast = torch.compile(attention, backend="aot_eager", fullgraph=True) if compiled else attention
    found = a_pass(fast, x, weights)
    assert launches == [False, True]
    for mine, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(mine, theirs, atol=1e-5, rtol=1e-5)


def test_normalized_queries_go_another_way(launches):
    """A norm stands between the product and RoPE."""
    attention = MultiHeadAttention(16, 2, rope=RotaryEmbedding(8, 16), qk_norm=True).to(DEVICE)
    accelerate(attention)(torch.randn(1, 5, 16, device=DEVICE))
    assert launches == []
