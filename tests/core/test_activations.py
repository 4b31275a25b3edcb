"""Softmax, log-softmax and the activations against PyTorch's own: values and gradients."""

import pytest
import torch
import torch.nn.functional as F

from bittygpt.core import gelu, log_softmax, relu, relu2, silu, softmax

PAIRS = {
    "silu": (silu, F.silu),
    "gelu": (gelu, F.gelu),
    "relu": (relu, F.relu),
    "relu2": (relu2, lambda x: F.relu(x) ** 2),
    "softmax": (softmax, lambda x: torch.softmax(x, -1)),
    "softmax over dim 0": (lambda x: softmax(x, 0), lambda x: torch.softmax(x, 0)),
    "log_softmax": (log_softmax, lambda x: torch.log_softmax(x, -1)),
    "log_softmax over dim 1": (lambda x: log_softmax(x, 1), lambda x: torch.log_softmax(x, 1)),
}


@pytest.mark.parametrize("name", PAIRS)
@pytest.mark.parametrize("scale", [1e-3, 1.0, 30.0])
def test_values_and_gradients_equal_torch(name, scale):
    ours, theirs = PAIRS[name]
    x = (scale * torch.randn(3, 4, 5)).requires_grad_()
    weights = torch.randn(3, 4, 5)
    torch.testing.assert_close(ours(x), theirs(x))
    mine, oracle = (torch.autograd.grad((f(x) * weights).sum(), x)[0] for f in (ours, theirs))
    torch.testing.assert_close(mine, oracle)


@pytest.mark.parametrize("f", [softmax, log_softmax])
@pytest.mark.parametrize("offset", [1e4, -1e4, 1e30])
def test_softmax_survives_large_entries(f, offset):
    x = torch.full((4,), offset)
    expected = torch.full((4,), 0.25) if f is softmax else torch.full((4,), 0.25).log()
    torch.testing.assert_close(f(x), expected)


def test_softmax_of_minus_infinity_is_zero():
    p = softmax(torch.tensor([0.0, -torch.inf, 0.0]))
    assert torch.equal(p, torch.tensor([0.5, 0.0, 0.5]))


@pytest.mark.parametrize("f", [softmax, log_softmax])
def test_softmax_works_in_float32_and_gives_back_the_dtype(f):
    x = torch.randn(2, 1000).bfloat16()
    oracle = {softmax: torch.softmax, log_softmax: torch.log_softmax}[f]
    assert torch.equal(f(x), oracle(x.float(), -1).bfloat16())


def test_relu_has_no_slope_at_zero():
    ours, theirs = (torch.tensor([-1.0, 0.0, 2.0], requires_grad=True) for _ in range(2))
    relu(ours).sum().backward()
    F.relu(theirs).sum().backward()
    assert ours.grad.tolist() == theirs.grad.tolist() == [0.0, 0.0, 1.0]
    assert relu(torch.tensor(torch.nan)).isnan()


def test_gelu_in_bfloat16_keeps_its_left_tail():
    x = torch.linspace(-4, 4, 200).bfloat16()
    torch.testing.assert_close(gelu(x), F.gelu(x), rtol=0.01, atol=1e-6)
