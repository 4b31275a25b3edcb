"""The block's twin against the block's formula: values and all gradients, over every kind of block."""

import dataclasses

import pytest
import torch

from bittygpt.core import ModelConfig, RotaryEmbedding, TransformerBlock
from bittygpt.core.block_twin import use_block_twin
from bittygpt.core.twins import formulas_alone

pytestmark = pytest.mark.usefixtures("both_twins")
PLAIN = ModelConfig(vocab_size=5, context_length=16, d_model=24, num_layers=1, num_heads=4, d_ff=40)
KINDS = {
    "plain": {},
    "grouped": {"num_kv_heads": 2},
    "multi-query": {"num_kv_heads": 1},
    "qk-norm": {"qk_norm": True},
    "grouped qk-norm": {"qk_norm": True, "num_kv_heads": 2},
    "geglu": {"activation": "geglu"},
    "relu2": {"activation": "relu2"},
}


def make_block(rope: bool = True, **changes):
    """A block whose gains are not 1, so that a gain left out shows."""
    config = dataclasses.replace(PLAIN, **changes)
    block = TransformerBlock(config, RotaryEmbedding(6, 16) if rope else None)
    for p in block.parameters():
        if p.ndim == 1:
            p.data.normal_(1, 0.3)
    return block


def outcome(block, x):
    """What the block makes of x, and the gradients of x and of all weights (None where frozen)."""
    block.zero_grad()
    x = x.clone().requires_grad_()
    y = block(x)
    weights = torch.randn(y.shape, generator=torch.Generator().manual_seed(1))
    (y.float() * weights).sum().backward()
    return [y.detach(), x.grad, *(p.grad for p in block.parameters())]


def assert_equal(twin, formula, **tolerance):
    for mine, expected in zip(twin, formula, strict=True):
        assert (mine is None) == (expected is None)
        if mine is not None:
            torch.testing.assert_close(mine, expected, **tolerance)


@pytest.mark.parametrize("rope", [True, False])
@pytest.mark.parametrize("kind", KINDS)
def test_equals_the_formula(kind, rope):
    block, x = make_block(rope, **KINDS[kind]), torch.randn(3, 7, 24)
    assert use_block_twin(x)
    twin = outcome(block, x)
    with formulas_alone():
        assert not use_block_twin(x)
        formula = outcome(block, x)
    assert_equal(twin, formula, rtol=1e-4, atol=1e-5)


def test_under_autocast_products_alone_lose_precision():
    block, x = make_block(qk_norm=True), torch.randn(3, 7, 24)
    with torch.autocast("cpu", torch.bfloat16):
        twin = outcome(block, x)
        with formulas_alone():
            formula = outcome(block, x)
    assert all(tensor.dtype == torch.float32 for tensor in twin)
    for mine, expected in zip(twin, formula, strict=True):
        assert (mine - expected).norm() < 0.02 * expected.norm()


@pytest.mark.parametrize("frozen", ["q_proj", "v_proj", "w1", "w2", "w3", "ln1"])
def test_a_frozen_weight_gets_no_gradient_and_the_others_theirs(frozen):
    block, x = make_block(), torch.randn(2, 5, 24)
    for name, p in block.named_parameters():
        p.requires_grad_(frozen not in name)
    twin = outcome(block, x)
    with formulas_alone():
        assert_equal(twin, outcome(block, x), rtol=1e-4, atol=1e-5)
    assert any(gradient is None for gradient in twin)


def test_what_comes_in_stays_as_it_is():
    block, x = make_block(), torch.randn(2, 5, 24)
    before = x.clone()
    block(x)
    assert torch.equal(x, before)
