"""A model without numbers."""

import torch

from bittygpt.core import ModelConfig, TransformerLM
from bittygpt.engine.uninitialized import uninitialized_model


def test_a_model_without_numbers_has_the_shape_and_takes_no_memory():
    config = ModelConfig(50, 24, 32, 2, 4, qk_norm=True)
    paper, real = uninitialized_model(config), TransformerLM(config)
    assert all(p.is_meta for p in paper.parameters())
    assert [(n, p.shape) for n, p in paper.named_parameters()] == [
        (n, p.shape) for n, p in real.named_parameters()
    ]
    assert paper.flops_per_token() == real.flops_per_token()
    torch.manual_seed(0)
    first = TransformerLM(config).lm_head.weight.clone()
    torch.manual_seed(0)
    uninitialized_model(config)
    assert first.equal(
        TransformerLM(config).lm_head.weight
    )  # no random number was drawn, and all is as it was
