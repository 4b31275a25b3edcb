"""Cross-entropy, entropy and KL divergence against PyTorch's own, and at their edges."""

import pytest
import torch
import torch.nn.functional as F

from bittygpt.core import cross_entropy, entropy, kl_divergence


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("shape", [(4,), (2, 3), (2, 3, 4)])
@pytest.mark.parametrize("scale", [1.0, 100.0])
@pytest.mark.parametrize("ignored", [-100, 3])
def test_equals_torch(reduction, shape, scale, ignored):
    logits = (scale * torch.randn(*shape, 7)).requires_grad_()
    targets = torch.randint(0, 7, shape)
    targets.view(-1)[::3] = ignored
    ours = cross_entropy(logits, targets, ignored, reduction)
    oracle = F.cross_entropy(logits.view(-1, 7), targets.view(-1), ignore_index=ignored, reduction=reduction)
    torch.testing.assert_close(ours.flatten(), oracle.flatten())
    mine, theirs = (torch.autograd.grad(loss.sum(), logits)[0] for loss in (ours, oracle))
    torch.testing.assert_close(mine, theirs)


def test_mean_is_over_valid_targets_and_not_over_positions():
    logits = torch.zeros(4, 8)
    targets = torch.tensor([1, -100, -100, -100])
    torch.testing.assert_close(cross_entropy(logits, targets), torch.tensor(8.0).log())


@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_no_valid_target_gives_zero_and_a_zero_gradient(reduction):
    logits = torch.randn(3, 5, requires_grad=True)
    loss = cross_entropy(logits, torch.full((3,), -100), reduction=reduction)
    loss.backward()
    assert loss.item() == 0
    assert torch.equal(logits.grad, torch.zeros(3, 5))


@pytest.mark.parametrize("size", [1e4, 1e30])
def test_logits_of_any_size(size):
    logits = torch.tensor([[size, 0.0, -size]], requires_grad=True)
    loss = cross_entropy(logits, torch.tensor([1]))
    loss.backward()
    assert loss.item() == pytest.approx(size)
    torch.testing.assert_close(logits.grad, torch.tensor([[1.0, -1.0, 0.0]]))


def test_bfloat16_logits_are_summed_in_float32():
    logits = torch.randn(5, 2000).bfloat16()
    targets = torch.randint(0, 2000, (5,))
    ours = cross_entropy(logits, targets)
    assert ours.dtype == torch.float32
    torch.testing.assert_close(ours, F.cross_entropy(logits.float(), targets))


def test_sums_of_uneven_micro_batches_divided_once_equal_the_whole():
    logits, targets = torch.randn(6, 9), torch.tensor([1, 2, -100, -100, -100, 3])
    parts = sum(
        cross_entropy(x, t, reduction="sum") for x, t in zip(logits.chunk(3), targets.chunk(3), strict=True)
    )
    torch.testing.assert_close(parts / 3, F.cross_entropy(logits, targets))


@pytest.mark.parametrize("scale", [0.1, 1.0, 50.0])
def test_entropy_and_kl_equal_torch(scale):
    p, q = ((scale * torch.randn(3, 6)).requires_grad_() for _ in range(2))
    ours, oracle = entropy(p), torch.distributions.Categorical(logits=p).entropy()
    torch.testing.assert_close(ours, oracle)
    torch.testing.assert_close(
        torch.autograd.grad(ours.sum(), p)[0], torch.autograd.grad(oracle.sum(), p)[0], atol=1e-5, rtol=1e-4
    )
    ours = kl_divergence(p, q)
    oracle = F.kl_div(q.log_softmax(-1), p.log_softmax(-1), reduction="none", log_target=True).sum(-1)
    torch.testing.assert_close(ours, oracle)
    for mine, theirs in zip(
        torch.autograd.grad(ours.sum(), [p, q]), torch.autograd.grad(oracle.sum(), [p, q]), strict=True
    ):
        torch.testing.assert_close(mine, theirs, atol=1e-4, rtol=1e-4)


def test_entropy_and_kl_where_a_token_is_impossible():
    p, q = torch.tensor([0.0, 0.0, -torch.inf]), torch.tensor([0.0, 0.0, 0.0])
    torch.testing.assert_close(entropy(p), torch.tensor(2.0).log())
    torch.testing.assert_close(kl_divergence(p, q), torch.tensor(1.5).log())
    assert kl_divergence(p, p).item() == 0
