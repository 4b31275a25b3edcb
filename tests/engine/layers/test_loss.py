"""The loss without the logits against PyTorch's cross-entropy on all of them: values and gradients."""

import pytest
import torch
import torch.nn.functional as F

from bittygpt.core import cross_entropy
from bittygpt.engine.layers import loss as chunked_loss
from bittygpt.engine.layers.loss import chunked_linear_cross_entropy, chunked_token_losses

D, V = 8, 23


@pytest.fixture(params=[1, 5, 12, 100], ids=lambda tokens: f"{tokens}_tokens_at_once")
def any_chunk(request, monkeypatch):
    monkeypatch.setattr(chunked_loss, "LOGITS_AT_ONCE", request.param * V)


def inputs():
    hidden = torch.randn(3, 4, D, requires_grad=True)
    weight = torch.randn(V, D, requires_grad=True)
    targets = torch.randint(0, V, (3, 4))
    targets[0, 1] = targets[2, 3] = -100
    return hidden, weight, targets


def oracle(hidden, weight, targets):
    logits = F.linear(hidden, weight).flatten(0, -2).float()
    return F.cross_entropy(logits, targets.flatten(), reduction="sum")


@pytest.mark.usefixtures("any_chunk", "with_and_without_c")
@pytest.mark.parametrize("scale", [1.0, 1e4])
def test_the_sum_and_its_gradients_equal_torchs(scale):
    hidden, weight, targets = inputs()
    weight = (weight * scale).detach().requires_grad_()
    ours, theirs = (f(hidden, weight, targets) for f in (chunked_linear_cross_entropy, oracle))
    torch.testing.assert_close(ours, theirs)
    gradients = (torch.autograd.grad(0.5 * loss, [hidden, weight]) for loss in (ours, theirs))
    for mine, expected in zip(*gradients, strict=True):
        torch.testing.assert_close(mine, expected, atol=1e-4 * scale, rtol=1e-4)


@pytest.mark.usefixtures("any_chunk", "with_and_without_c")
def test_each_tokens_loss_equals_torchs():
    hidden, weight, targets = inputs()
    logits = F.linear(hidden, weight).flatten(0, -2)
    expected = F.cross_entropy(logits, targets.flatten(), reduction="none").view(3, 4)
    torch.testing.assert_close(chunked_token_losses(hidden, weight, targets), expected.detach())


@pytest.mark.usefixtures("any_chunk", "with_and_without_c")
def test_under_autocast_the_products_are_bfloat16_and_the_sums_float32():
    hidden, weight, targets = inputs()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        ours = chunked_linear_cross_entropy(hidden, weight, targets)
        theirs = cross_entropy(F.linear(hidden, weight), targets, reduction="sum")
    assert ours.dtype == torch.float32
    torch.testing.assert_close(ours, theirs)
    gradients = (torch.autograd.grad(loss, [hidden, weight]) for loss in (ours, theirs))
    for mine, expected in zip(*gradients, strict=True):
        assert mine.dtype == torch.float32
        torch.testing.assert_close(mine, expected, atol=0.05, rtol=0.02)


@pytest.mark.parametrize("frozen", [0, 1])
def test_what_is_frozen_gets_no_gradient(frozen):
    tensors = list(inputs())
    tensors[frozen] = tensors[frozen].detach()
    expected = torch.autograd.grad(oracle(*tensors), tensors[1 - frozen])
    mine = torch.autograd.grad(chunked_linear_cross_entropy(*tensors), tensors[1 - frozen])
    torch.testing.assert_close(mine, expected)


def test_without_any_valid_target_loss_and_gradients_are_zero():
    hidden, weight, targets = inputs()
    loss = chunked_linear_cross_entropy(hidden, weight, torch.full_like(targets, -100))
    gradients = torch.autograd.grad(loss, [hidden, weight])
    assert loss == 0
    assert not any(gradient.any() for gradient in gradients)


@pytest.fixture
def padded(monkeypatch):
    """The vocabulary is filled up as on a GPU."""
    add_rows = lambda weight: F.pad(weight, (0, 0, 0, 9))  # noqa: E731
    monkeypatch.setattr(chunked_loss, "with_padding", add_rows)


@pytest.mark.usefixtures("any_chunk", "padded")
def test_padding_of_the_vocabulary_changes_nothing():
    hidden, weight, targets = inputs()
    ours, theirs = (f(hidden, weight, targets) for f in (chunked_linear_cross_entropy, oracle))
    torch.testing.assert_close(ours, theirs)
    gradients = (torch.autograd.grad(loss, [hidden, weight]) for loss in (ours, theirs))
    for mine, expected in zip(*gradients, strict=True):
        torch.testing.assert_close(mine, expected, atol=1e-5, rtol=1e-4)
    each = chunked_token_losses(hidden, weight, targets)
    torch.testing.assert_close(each.sum(), theirs.detach())


def test_a_gpu_makes_few_chunks_and_a_cpu_small_ones():
    cpu, gpu = torch.device("cpu"), torch.device("cuda")
    sizes = [chunked_loss.tokens_at_once(1 << 16, 50_257, device) for device in (cpu, gpu)]
    assert sizes == [(1 << 24) // 50_257, 1 << 14]
    assert chunked_loss.tokens_at_once(100, 65, gpu) == 100
    assert [len(range(*part.indices(10))) for part in chunked_loss.chunks(10, 1 << 24, cpu)] == [1] * 10
