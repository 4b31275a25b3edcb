"""What is checked of a config: its own kind of model, small enough; its own tokens, if they are there."""

import numpy as np
import pytest
import torch

from bittygpt.checks.runner import THEMES, make
from bittygpt.checks.subject import CONTEXT, D_FF, LAYERS, NARROWEST, VOCABULARY, WIDTH, shrunk
from bittygpt.checks.suite.data import own_tokens_fit
from bittygpt.checks.suite.optimizers import LR, after_steps
from bittygpt.core import SGD, ModelConfig
from bittygpt.data.preparation.prepare import prepare_tokens

VARIANTS = [
    ("optim.name=sgd", "model.activation=relu2", "model.tie_embeddings=true", "model.context_length=1"),
    ("optim.name=adam", "model.activation=geglu", "model.num_kv_heads=1", "model.qk_norm=false"),
    ("optim.name=muon", "model.d_model=2", "model.num_heads=1", "model.num_kv_heads=1", "model.d_ff=1"),
    ("data.windows=documents", "model.rope_theta=1", "optim.schedule=wsd", "optim.warmup_steps=0",
     "optim.lr=1e-6", "optim.betas=[0,0]", "optim.weight_decay=20", "optim.eps=1", "model.norm_eps=0.5"),
    ("model.d_model=8192", "model.num_heads=256", "model.num_layers=90", "optim.grad_clip=1e-3",
     "optim.schedule=constant", "train.precision=bf16", "tokenizer.vocab_size=20000"),
]  # fmt: skip


@pytest.mark.parametrize("overrides", VARIANTS, ids=lambda overrides: overrides[0])
def test_any_valid_config_can_be_checked_and_is_right(subject, overrides):
    checked = subject(*overrides)
    for theme in ("parts", "model", "data", "training"):
        for check in THEMES[theme]:
            outcome = make(check, checked)
            assert outcome.state == ("skipped" if check is own_tokens_fit else "passed"), outcome


@pytest.mark.parametrize("heads", [(12, 12), (12, 4), (1, 1), (96, 8), (256, 256), (256, 1), (3, 3)])
@pytest.mark.parametrize("head_dim", [2, 64, 256])
def test_a_shrunk_model_is_of_the_same_kind(heads, head_dim):
    num_heads, groups = heads
    whole = ModelConfig(
        50_000, 4096, num_heads * head_dim, 40, num_heads, groups, activation="geglu", qk_norm=True
    )
    small = shrunk(whole)
    assert NARROWEST <= small.d_model <= WIDTH
    assert small.d_model % (2 * small.num_heads) == 0
    assert small.num_heads // small.num_kv_heads == min(num_heads // groups, WIDTH // 2)
    assert small.num_heads == num_heads or num_heads > WIDTH // 2
    assert (small.vocab_size, small.num_layers, small.context_length) == (VOCABULARY, LAYERS, CONTEXT)
    assert 1 <= small.d_ff <= D_FF
    kept = ("activation", "qk_norm", "tie_embeddings", "rope_theta", "norm_eps")
    assert [getattr(small, key) for key in kept] == [getattr(whole, key) for key in kept]


def test_what_was_shrunk_is_said(subject):
    large = subject("model.num_layers=40", "model.d_model=4096", "train.compile=true")
    assert any("num_layers 40 -> 2" in note and "d_model 4,096 -> 128" in note for note in large.notes)
    assert any("with all 260 tokens" in note for note in large.notes)
    assert any("half a minute" in note for note in large.notes)
    assert large.own_shape.context_length == 16
    assert subject().own_shape.d_model == 16


def test_tokens_that_do_not_fit_their_vocabulary_are_found(subject, tmp_path):
    (tmp_path / "unused.txt").write_text("the owl and the fox\n" * 300)
    checked = subject("data.val_fraction=0")
    prepare_tokens(checked.config, lambda *_: None)
    right = subject("data.val_fraction=0")
    assert right.tokens is not None
    assert right.vocab_size == right.tokens.tokenizer.vocab_size
    assert make(own_tokens_fit, right).state == "passed"
    shard = np.load(tmp_path / "tokens/train-00000.npy")
    shard[3] = right.vocab_size
    np.save(tmp_path / "tokens/train-00000.npy", shard)
    outcome = make(own_tokens_fit, subject("data.val_fraction=0"))
    assert (outcome.state, outcome.value) == ("failed", 1)


def test_damaged_tokens_are_told_of_and_random_ones_taken(subject, tmp_path):
    (tmp_path / "tokens").mkdir()
    (tmp_path / "tokens/manifest.json").write_text("{")
    checked = subject()
    assert checked.tokens is None
    assert any("is damaged" in note for note in checked.notes)
    assert subject("tokenizer.vocab=none.json", "tokenizer.vocab_size=null").vocab_size == 10_000


def test_two_optimizers_get_the_same_gradients():
    """What compares them must move something, or they would be equal whatever they do."""
    (moved,) = after_steps(lambda ws: SGD(ws, lr=LR), [torch.zeros(3)], [[torch.ones(3)]] * 2)
    assert moved.tolist() == pytest.approx([-2 * LR] * 3)
