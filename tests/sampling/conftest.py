"""The kinds of model that generation is tested with."""

import dataclasses

import pytest

from bittygpt.core import ModelConfig

PLAIN = ModelConfig(vocab_size=40, context_length=16, d_model=32, num_layers=2, num_heads=4, d_ff=48)
CHANGES = {
    "plain": {},
    "grouped": {"num_kv_heads": 2},
    "multi-query": {"num_kv_heads": 1},
    "tied": {"tie_embeddings": True},
    "qk-norm": {"qk_norm": True},
    "grouped, qk-norm, tied": {"num_kv_heads": 2, "qk_norm": True, "tie_embeddings": True},
    "large epsilon": {"norm_eps": 0.5},
    "other theta": {"rope_theta": 50.0},
    **{name: {"activation": name} for name in ("geglu", "reglu", "gelu", "relu", "relu2")},
}


@pytest.fixture(params=CHANGES)
def variant(request) -> ModelConfig:
    """Each kind of model in turn."""
    return dataclasses.replace(PLAIN, **CHANGES[request.param])
