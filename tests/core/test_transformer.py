"""The whole model: causality by gradient, the first loss, tying, counting."""

import dataclasses
import math

import pytest
import torch
import torch.nn.functional as F

from bittygpt.core import ModelConfig, TransformerLM, cross_entropy

SMALL = ModelConfig(vocab_size=50, context_length=12, d_model=32, num_layers=2, num_heads=4, d_ff=64)
VARIANTS = {
    "plain": SMALL,
    "grouped": dataclasses.replace(SMALL, num_kv_heads=2),
    "multi-query": dataclasses.replace(SMALL, num_kv_heads=1),
    "tied": dataclasses.replace(SMALL, tie_embeddings=True),
    "qk-norm": dataclasses.replace(SMALL, qk_norm=True),
    "relu2": dataclasses.replace(SMALL, activation="relu2"),
}


@pytest.mark.parametrize("name", VARIANTS)
def test_causality_by_gradient(name):
    """Logits at t have a gradient to the embedding of every position up to t, and of none after."""
    model = TransformerLM(VARIANTS[name])
    ids = torch.randperm(50)[:12][
        None
    ]  # all different, so that each position has an embedding row of its own
    for t in (0, 5, 11):
        model.zero_grad()
        hidden = model.hidden_states(ids)[0, t]
        (hidden * torch.randn(32)).sum().backward()
        reached = model.token_embeddings.weight.grad[ids[0]].abs().sum(-1) > 0
        assert reached.tolist() == [position <= t for position in range(12)]


@pytest.mark.parametrize("name", VARIANTS)
def test_a_later_token_changes_no_earlier_logit(name):
    model = TransformerLM(VARIANTS[name])
    ids = torch.randint(0, 50, (2, 12))
    changed = ids.clone()
    changed[:, 7] = (ids[:, 7] + 1) % 50
    before, after = model(ids), model(changed)
    assert torch.equal(before[:, :7], after[:, :7])
    assert not torch.allclose(before[:, 7:], after[:, 7:])


@pytest.mark.parametrize("tied", [False, True])
def test_first_loss_is_near_the_uniform_guess(tied):
    config = dataclasses.replace(SMALL, vocab_size=1000, d_model=64, context_length=64, tie_embeddings=tied)
    ids = torch.randint(0, 1000, (8, 64))
    loss = cross_entropy(TransformerLM(config)(ids), torch.randint(0, 1000, (8, 64))).item()
    assert abs(loss - math.log(1000)) < 0.7


def test_block_is_pre_norm_with_two_residual_sums():
    model = TransformerLM(SMALL)
    block = model.layers[0]
    x = torch.randn(1, 5, 32)
    middle = x + block.attn(F.rms_norm(x, (32,), block.ln1.weight, 1e-5))
    expected = middle + block.ffn(F.rms_norm(middle, (32,), block.ln2.weight, 1e-5))
    torch.testing.assert_close(block(x), expected)


def test_model_is_embedding_blocks_norm_and_head():
    model = TransformerLM(SMALL)
    model.ln_final.weight.data.normal_(1, 0.3)
    ids = torch.randint(0, 50, (2, 7))
    x = F.embedding(ids, model.token_embeddings.weight)
    for block in model.layers:
        x = block(x)
    x = F.rms_norm(x, (32,), model.ln_final.weight, 1e-5)
    torch.testing.assert_close(model(ids), F.linear(x, model.lm_head.weight))


def test_tied_embeddings_are_one_parameter():
    tied, untied = TransformerLM(VARIANTS["tied"]), TransformerLM(SMALL)
    assert untied.num_parameters() - tied.num_parameters() == 50 * 32
    hidden = tied.hidden_states(torch.tensor([[1, 2]]))
    torch.testing.assert_close(tied.logits(hidden), F.linear(hidden, tied.token_embeddings.weight))


def test_parameters_and_flops_by_hand():
    model = TransformerLM(SMALL)
    layer = 4 * 32 * 32 + 3 * 32 * 64
    assert model.num_parameters() == 2 * (layer + 2 * 32) + 2 * 50 * 32 + 32
    assert model.flops_per_token() == 6 * (2 * layer + 50 * 32) + 12 * 2 * 32 * 12


def test_too_long_a_text_is_refused():
    with pytest.raises(ValueError, match="13 tokens in a context of 12"):
        TransformerLM(SMALL)(torch.zeros(1, 13, dtype=torch.long))
