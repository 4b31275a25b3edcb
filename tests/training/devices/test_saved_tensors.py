"""What autograd saves is weighed on a small model, and must be what the run's own model saves."""

from contextlib import nullcontext

import pytest
import torch

from bittygpt.core import ModelConfig, TransformerLM
from bittygpt.engine.accelerate import accelerate
from bittygpt.training.devices.saved_tensors import saved_bytes

SHAPES = {
    "plain": {},
    "qk_norm, grouped": {"qk_norm": True, "num_kv_heads": 2},
    "without a gate": {"activation": "gelu"},
    "another gate": {"activation": "geglu", "d_ff": 48},
    "tied": {"tie_embeddings": True},
}


def shape(**changes):
    return ModelConfig(
        **{"vocab_size": 50, "context_length": 24, "d_model": 32, "num_layers": 3, "num_heads": 4} | changes
    )


def saved_by(model, ids, precision):
    """By another road than the package's: bytes of all storages that autograd keeps and the model does not own."""
    tables = [layer.attn.rope.cos_sin for layer in model.layers]
    own = {t.untyped_storage().data_ptr() for t in (*model.parameters(), *tables)}
    kept = {}

    def keep(tensor):
        kept[tensor.untyped_storage().data_ptr()] = tensor
        return tensor

    cast = torch.autocast("cpu", dtype=torch.bfloat16) if precision == "bf16" else nullcontext()
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor), cast:
        model.hidden_states(ids)
    return sum(t.untyped_storage().nbytes() for pointer, t in kept.items() if pointer not in own)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("changes", SHAPES.values(), ids=SHAPES)
def test_it_is_what_a_deeper_model_saves_of_more_tokens(changes, precision):
    config = shape(**changes)
    model, ids = accelerate(TransformerLM(config)), torch.zeros(5, 24, dtype=torch.int64)
    assert saved_bytes(config, precision).total(3, 5 * 24) == saved_by(model, ids, precision)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_large_layer_is_weighed_by_a_narrower_one(monkeypatch, precision):
    config = shape(d_model=512, d_ff=1408)
    expected = saved_bytes(config, precision).total(3, 1000)
    saved_bytes.cache_clear()
    monkeypatch.setattr("bittygpt.training.devices.saved_tensors.LARGE", 500_000)
    assert saved_bytes(config, precision).total(3, 1000) == pytest.approx(expected, rel=0.01)
    saved_bytes.cache_clear()
