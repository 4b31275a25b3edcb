"""Clipping by global norm against torch.nn.utils.clip_grad_norm_."""

import pytest
import torch

from bittygpt.core import clip_grad_norm


@pytest.mark.parametrize("max_norm", [0.1, 1.0, 1e6])
@pytest.mark.parametrize("size", [1e-3, 1.0, 1e4])
def test_equals_torch(max_norm, size):
    grads = [size * torch.randn(3, 4), size * torch.randn(5)]
    mine, theirs = ([torch.zeros_like(g).requires_grad_() for g in grads] for _ in range(2))
    for ps in (mine, theirs):
        for p, g in zip(ps, grads, strict=True):
            p.grad = g.clone()
        ps.append(torch.zeros(2, requires_grad=True))  # without a gradient
    torch.testing.assert_close(
        clip_grad_norm(mine, max_norm), torch.nn.utils.clip_grad_norm_(theirs, max_norm)
    )
    for p, q in zip(mine[:-1], theirs[:-1], strict=True):
        torch.testing.assert_close(p.grad, q.grad)


def test_zero_only_measures():
    p = torch.zeros(2, requires_grad=True)
    p.grad = torch.tensor([3.0, 4.0])
    assert clip_grad_norm([p], 0.0).item() == 5.0
    assert torch.equal(p.grad, torch.tensor([3.0, 4.0]))


@pytest.mark.parametrize("bad", [torch.nan, torch.inf])
def test_a_gradient_that_is_not_finite_shows_in_the_norm(bad):
    p = torch.zeros(2, requires_grad=True)
    p.grad = torch.tensor([1.0, bad])
    assert not clip_grad_norm([p], 1.0).isfinite()


def test_no_gradients_at_all():
    assert clip_grad_norm([torch.zeros(2)], 1.0).item() == 0
