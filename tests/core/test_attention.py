"""Attention: the formula against PyTorch's, grouped heads, QK-norm, and what it refuses."""

import pytest
import torch
import torch.nn.functional as F

from bittygpt.core import MultiHeadAttention, RotaryEmbedding, scaled_dot_product_attention
from bittygpt.core.attention import causal_mask


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize(("queries", "keys"), [(1, 1), (5, 5), (3, 7)])
@pytest.mark.parametrize("lead", [(), (2,), (2, 3)])
def test_formula_equals_torch(masked, queries, keys, lead):
    q = torch.randn(*lead, queries, 8, requires_grad=True)
    k, v = (torch.randn(*lead, keys, 8, requires_grad=True) for _ in range(2))
    mask = causal_mask(queries, keys) if masked else None
    ours, oracle = scaled_dot_product_attention(q, k, v, mask), F.scaled_dot_product_attention(q, k, v, mask)
    torch.testing.assert_close(ours, oracle)
    for mine, theirs in zip(
        torch.autograd.grad(ours.square().sum(), [q, k, v]),
        torch.autograd.grad(oracle.square().sum(), [q, k, v]),
        strict=True,
    ):
        torch.testing.assert_close(mine, theirs, atol=2e-5, rtol=1e-4)


def test_causal_mask_of_two_queries_after_two_cached_keys():
    assert causal_mask(2, 4).int().tolist() == [[1, 1, 1, 0], [1, 1, 1, 1]]


def multi_head_oracle(attention, x, heads, kv_heads, theta):
    """The layer spelled out with PyTorch's own parts, one head at a time."""
    d = attention.head_dim
    q, k, v = (F.linear(x, p.weight) for p in (attention.q_proj, attention.k_proj, attention.v_proj))
    outputs = []
    frequencies = theta ** (-torch.arange(0, d, 2) / d)
    angles = torch.arange(x.shape[1])[:, None] * frequencies
    turn = torch.polar(torch.ones_like(angles), angles)

    def rope(y):
        return torch.view_as_real(
            torch.view_as_complex(y.unflatten(-1, (-1, 2)).contiguous()) * turn
        ).flatten(-2)

    for h in range(heads):
        g = h // (heads // kv_heads)
        q_h, k_h, v_h = q[..., h * d : (h + 1) * d], k[..., g * d : (g + 1) * d], v[..., g * d : (g + 1) * d]
        if attention.q_norm is not None:
            q_h = F.rms_norm(q_h, (d,), attention.q_norm.weight, attention.q_norm.eps)
            k_h = F.rms_norm(k_h, (d,), attention.k_norm.weight, attention.k_norm.eps)
        outputs.append(F.scaled_dot_product_attention(rope(q_h), rope(k_h), v_h, is_causal=True))
    return F.linear(torch.cat(outputs, -1), attention.output_proj.weight)


@pytest.mark.parametrize("qk_norm", [False, True])
@pytest.mark.parametrize("kv_heads", [1, 2, 4])
def test_multi_head_attention_equals_its_spelling_out(qk_norm, kv_heads):
    attention = MultiHeadAttention(32, 4, kv_heads, RotaryEmbedding(8, 16, 100.0), qk_norm)
    if qk_norm:
        attention.q_norm.weight.data.normal_(1, 0.3)
        attention.k_norm.weight.data.normal_(1, 0.3)
    x = torch.randn(2, 9, 32, requires_grad=True)
    ours, oracle = attention(x), multi_head_oracle(attention, x, 4, kv_heads, 100.0)
    torch.testing.assert_close(ours, oracle)
    inputs = [x, *attention.parameters()]
    mine, theirs = (torch.autograd.grad(y.square().sum(), inputs) for y in (ours, oracle))
    for gradient, expected in zip(mine, theirs, strict=True):
        torch.testing.assert_close(gradient, expected, atol=1e-4, rtol=1e-4)


def test_heads_that_do_not_divide_are_refused():
    with pytest.raises(ValueError, match="d_model 30 must be a multiple of num_heads 4"):
        MultiHeadAttention(30, 4)
    with pytest.raises(ValueError, match="of num_kv_heads 3"):
        MultiHeadAttention(32, 4, 3)
