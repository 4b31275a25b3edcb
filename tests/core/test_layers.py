"""Embedding, Linear, RMSNorm and the feed-forward layers against PyTorch's own: values, gradients, initialisation."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from bittygpt.core import Embedding, Linear, RMSNorm, SwiGLU
from bittygpt.core.feed_forward import GATED, PLAIN, default_d_ff, make_feed_forward

SHAPES = [(1,), (3,), (2, 5), (2, 3, 4)]


@pytest.mark.parametrize("ids", [[-1], [11]])
def test_an_embedding_refuses_ids_that_it_has_no_row_for(ids):
    with pytest.raises(IndexError):
        Embedding(11, 6)(torch.tensor(ids))


@pytest.mark.parametrize("shape", SHAPES)
def test_embedding_equals_torch(shape):
    ours, theirs = Embedding(11, 6), nn.Embedding(11, 6)
    theirs.weight.data.copy_(ours.weight.data)
    ids = torch.randint(0, 11, shape)
    weights = torch.randn(*shape, 6)
    for module in (ours, theirs):
        (module(ids) * weights).sum().backward()
    assert torch.equal(ours(ids), theirs(ids))
    torch.testing.assert_close(ours.weight.grad, theirs.weight.grad)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_linear_equals_torch(shape, dtype):
    ours, theirs = Linear(7, 5).to(dtype), nn.Linear(7, 5, bias=False, dtype=dtype)
    theirs.weight.data.copy_(ours.weight.data)
    inputs = [torch.randn(*shape, 7, dtype=dtype).requires_grad_() for _ in range(1)] * 2
    gradients = []
    for module, x in zip((ours, theirs), inputs, strict=True):
        y = module(x)
        gradients.append(torch.autograd.grad(y.square().sum(), [x, module.weight]))
    torch.testing.assert_close(ours(inputs[0]), theirs(inputs[0]))
    for mine, oracle in zip(*gradients, strict=True):
        torch.testing.assert_close(mine, oracle)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("eps", [1e-5, 1e-1])
def test_rmsnorm_equals_torch(shape, dtype, eps):
    ours, theirs = RMSNorm(8, eps), nn.RMSNorm(8, eps)
    gain = torch.randn(8)
    ours.weight.data.copy_(gain)
    theirs.weight.data.copy_(gain)
    x = (3 * torch.randn(*shape, 8)).to(dtype)
    mine, oracle = (x.clone().requires_grad_() for _ in range(2))
    y, y_oracle = ours(mine), theirs(oracle.float()).to(dtype)
    torch.testing.assert_close(y, y_oracle)
    assert y.dtype == dtype
    y.float().square().sum().backward()
    y_oracle.float().square().sum().backward()
    torch.testing.assert_close(mine.grad, oracle.grad)
    torch.testing.assert_close(ours.weight.grad, theirs.weight.grad)


def test_rmsnorm_squares_in_float32():
    x = torch.full((4,), 1e3, dtype=torch.float16)  # 1e6, its square, is no float16
    assert torch.equal(RMSNorm(4)(x), torch.ones(4, dtype=torch.float16))


ACTIVATION_ORACLES = {"swiglu": F.silu, "geglu": F.gelu, "reglu": F.relu, "gelu": F.gelu, "relu": F.relu}


@pytest.mark.parametrize("name", [*GATED, *PLAIN])
def test_feed_forward_equals_torch(name):
    layer = make_feed_forward(6, 10, name)
    act = ACTIVATION_ORACLES.get(name, lambda x: F.relu(x) ** 2)
    x = torch.randn(2, 3, 6, requires_grad=True)
    inner = act(F.linear(x, layer.w1.weight))
    if name in GATED:
        inner = inner * F.linear(x, layer.w3.weight)
    oracle = F.linear(inner, layer.w2.weight)
    torch.testing.assert_close(layer(x), oracle)
    inputs = [x, *layer.parameters()]
    mine, theirs = (torch.autograd.grad(y.square().sum(), inputs) for y in (layer(x), oracle))
    for ours, expected in zip(mine, theirs, strict=True):
        torch.testing.assert_close(ours, expected)


def test_feed_forward_refuses_an_unknown_activation():
    with pytest.raises(ValueError, match="'swish' is none of"):
        make_feed_forward(4, 8, "swish")


@pytest.mark.parametrize(
    ("d_model", "d_ff"), [(8, 64), (128, 320), (512, 1344), (768, 2048), (1024, 2752), (60, 192)]
)
def test_default_d_ff_is_the_nearest_multiple_of_64(d_model, d_ff):
    assert default_d_ff(d_model) == d_ff
    assert SwiGLU(d_model).w1.weight.shape == (d_ff, d_model)
    assert [default_d_ff(d_model, name) for name in PLAIN] == [4 * d_model] * len(PLAIN)


def test_initialisation_is_the_handbooks():
    linear = Linear(300, 500).weight
    std = math.sqrt(2 / 800)
    # a normal distribution cut at 3 sigma has 0.9866 of the standard deviation
    assert linear.std().item() == pytest.approx(0.9866 * std, rel=0.02)
    assert linear.abs().max() <= 3 * std
    table = Embedding(500, 300).weight
    assert table.std().item() == pytest.approx(0.9866, rel=0.02)
    assert table.abs().max() <= 3
    assert torch.equal(RMSNorm(5).weight, torch.ones(5))
