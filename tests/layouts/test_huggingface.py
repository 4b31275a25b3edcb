"""The order of RoPE's features and the names of weights, there and back."""

import torch

from bittygpt.core import ModelConfig, TransformerLM
from bittygpt.layouts.huggingface import halves_first, layout_name, pairs_first, renamed_weights


def test_halves_first_by_hand():
    assert halves_first(torch.arange(8), 8).tolist() == [0, 2, 4, 6, 1, 3, 5, 7]
    assert halves_first(torch.arange(8), 4).tolist() == [0, 2, 1, 3, 4, 6, 5, 7]


def test_pairs_first_is_the_way_back():
    for weight in (torch.arange(24), torch.randn(24, 5)):
        for head_dim in (2, 4, 6, 8, 24):
            assert pairs_first(halves_first(weight, head_dim), head_dim).equal(weight)


def test_names_and_only_what_rope_sees_is_sorted():
    model = TransformerLM(ModelConfig(10, 8, 16, 2, 2, qk_norm=True))
    weights = dict(model.state_dict())
    for name, new, tensor in renamed_weights(model):
        assert new == layout_name(name)
        sorted_there = any(part in name for part in ("q_proj", "k_proj"))
        assert tensor.equal(
            halves_first(weights[name], 8)
            if sorted_there or ("attn" in name and "norm" in name)
            else weights[name]
        )
    assert layout_name("layers.1.ffn.w3.weight") == "model.layers.1.mlp.up_proj.weight"
    assert layout_name("lm_head.weight") == "lm_head.weight"
