"""RoPE against complex multiplication in float64, and the property that it exists for: only distances count."""

import pytest
import torch

from bittygpt.core import RotaryEmbedding


def rotate_by_complex_numbers(x, positions, theta):
    """RoFormer's equation 13: pair i as a complex number times exp(i · m · theta^(-2i/d)), all in float64."""
    pairs = torch.view_as_complex(x.double().unflatten(-1, (-1, 2)))
    frequencies = theta ** (-torch.arange(0, x.shape[-1], 2, dtype=torch.float64) / x.shape[-1])
    angles = positions.double()[:, None] * frequencies
    return torch.view_as_real(pairs * torch.polar(torch.ones_like(angles), angles)).flatten(-2)


@pytest.mark.parametrize("theta", [10_000.0, 500_000.0])
@pytest.mark.parametrize("head_dim", [2, 8, 64])
@pytest.mark.parametrize("first", [0, 1, 60_000])
def test_equals_complex_rotation_also_far_out(theta, head_dim, first):
    rope = RotaryEmbedding(head_dim, 65_536, theta)
    x = torch.randn(2, 3, 7, head_dim)
    positions = torch.arange(first, first + 7)
    expected = rotate_by_complex_numbers(x, positions, theta)
    torch.testing.assert_close(rope(x, positions).double(), expected, atol=2e-6, rtol=0)
    if first == 0:
        assert torch.equal(rope(x), rope(x, positions))


def test_the_gradient_is_rotated_back():
    rope, positions = RotaryEmbedding(8, 16), torch.arange(3, 10)
    x = (
        torch.randn(2, 7, 3, 8).transpose(1, 2).requires_grad_()
    )  # as attention has it: heads inside positions
    weights = torch.randn(2, 3, 7, 8)
    (gradient,) = torch.autograd.grad((rope(x, positions) * weights).sum(), x)
    oracle = (rotate_by_complex_numbers(x, positions, 10_000.0) * weights).sum()
    torch.testing.assert_close(gradient, torch.autograd.grad(oracle, x)[0], atol=1e-6, rtol=0)


def test_a_worked_example():
    """Position 1, pair 0 turns by 1 radian: (1, 0) -> (cos 1, sin 1); pair 1 of 4 by 1/100."""
    turned = RotaryEmbedding(4, 2, 10_000.0)(torch.tensor([[[[0.0] * 4, [1.0, 0.0, 1.0, 0.0]]]]))
    expected = torch.tensor([0.5403023, 0.8414710, 0.99995, 0.0099998])
    torch.testing.assert_close(turned[0, 0, 1], expected, atol=1e-6, rtol=0)


@pytest.mark.parametrize("shift", [1, 1000, 100_000])
def test_scores_depend_on_distance_alone(shift):
    rope = RotaryEmbedding(32, 100_016)
    q, k = torch.randn(1, 1, 16, 32), torch.randn(1, 1, 16, 32)
    here, there = torch.arange(16), torch.arange(16) + shift
    scores = [rope(q, p) @ rope(k, p).transpose(-2, -1) for p in (here, there)]
    torch.testing.assert_close(*scores, atol=1e-4, rtol=0)


def test_two_thetas_do_not_share_tables():
    x = torch.randn(1, 1, 4, 8)
    assert not torch.allclose(RotaryEmbedding(8, 4, 1e4)(x), RotaryEmbedding(8, 4, 1e2)(x))


def test_tables_stay_float32_and_right_through_casts_and_meta():
    expected, x = RotaryEmbedding(8, 100), torch.randn(1, 1, 100, 8)
    with torch.device("meta"):
        skeleton = RotaryEmbedding(8, 100)
    for rope in (RotaryEmbedding(8, 100).to(torch.bfloat16), skeleton.to_empty(device="cpu")):
        assert torch.equal(rope(x), expected(x))
        assert rope.cos_sin.dtype == torch.float32
        assert torch.equal(rope.cos_sin, expected.cos_sin)
    assert not expected.state_dict()


@pytest.mark.parametrize("shape", [(2, 3, 7, 6), (2, 3, 7, 10), (2, 3, 17, 8)])
def test_vectors_that_the_table_is_not_for_are_refused(shape):
    with pytest.raises(ValueError, match=r"16 positions of head_dim 8 cannot rotate vectors \(2, 3"):
        RotaryEmbedding(8, 16)(torch.zeros(shape))


def test_odd_head_dimension_is_refused():
    with pytest.raises(ValueError, match="must be even, and is 7"):
        RotaryEmbedding(7, 10)
