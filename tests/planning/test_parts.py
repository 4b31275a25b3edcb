"""Weights, operations and checkpoints by part, against the model, PyTorch's counter of operations and real files."""

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from bittygpt.config import RunConfig, load_config
from bittygpt.core import ModelConfig, TransformerLM
from bittygpt.planning.parts import (
    FORWARD_SHARE,
    checkpoint_size,
    flops_by_part,
    moments_in,
    parameters_by_part,
    shapes_in_checkpoint,
)
from bittygpt.training.checkpoints.checkpoint import optimizer_tensors, save_tensors
from bittygpt.training.optimizers import build_optimizers

SHAPES = [{}, {"qk_norm": True, "tie_embeddings": True}, {"activation": "gelu"}, {"num_kv_heads": 1}]


def build(**changes):
    return TransformerLM(
        ModelConfig(
            **{"vocab_size": 60, "context_length": 8, "d_model": 16, "num_layers": 2, "num_heads": 2}
            | changes
        )
    )


@pytest.mark.parametrize("changes", SHAPES)
def test_parts_add_up_to_the_model(changes):
    model = build(**changes)
    parts = parameters_by_part(model)
    assert sum(parts.values()) == model.num_parameters()
    assert parts["norms"] == sum(
        p.numel() for name, p in model.named_parameters() if "norm" in name or "ln" in name
    )
    assert parts["attention"] == sum(
        p.numel() for layer in model.layers for p in layer.attn.parameters() if p.ndim == 2
    )
    assert parts["feed-forward"] == sum(p.numel() for layer in model.layers for p in layer.ffn.parameters())
    assert parts["head"] == (0 if model.lm_head is None else 60 * 16)
    assert sum(flops_by_part(model).values()) == model.flops_per_token()


@pytest.mark.parametrize("changes", SHAPES)
def test_operations_are_those_that_pytorch_counts(changes):
    """In the formulas, which write every product down. Grouped heads are copied there: their scores cost the same."""
    model, ids = build(**changes), torch.zeros(3, 8, dtype=torch.int64)
    parts = flops_by_part(model)
    with FlopCounterMode(display=False) as counter:
        loss = model(ids, targets_BT=ids)
        forward = counter.get_total_flops()
        loss.backward()
    assert forward == round(3 * 8 * sum(parts.values()) * FORWARD_SHARE)
    assert counter.get_total_flops() == 3 * 8 * sum(parts.values())


@pytest.mark.parametrize("name", ["adamw", "adam", "muon", "sgd"])
@pytest.mark.parametrize("changes", SHAPES[:3])
def test_a_checkpoint_of_any_optimizer_has_the_planned_size(tmp_path, name, changes):
    (tmp_path / "a.yaml").write_text(f"data: {{train: [x.txt]}}\noptim: {{name: {name}}}\n")
    model, optim = build(**changes), load_config(tmp_path / "a.yaml").optim
    shapes = shapes_in_checkpoint(model, optim)
    optimizers = build_optimizers(model, optim)
    model(torch.zeros(1, 8, dtype=torch.int64), targets_BT=torch.zeros(1, 8, dtype=torch.int64)).backward()
    for optimizer in optimizers:
        optimizer.step()
    state = optimizer_tensors(model, optimizers)
    assert {key: tuple(tensor.shape) for key, tensor in state.items()} == shapes["optimizer"]
    assert moments_in(shapes) == sum(tensor.numel() for tensor in state.values())
    save_tensors(tmp_path / "model", model.state_dict())
    save_tensors(tmp_path / "optimizer", state)
    written = sum((tmp_path / file).stat().st_size for file in ("model", "optimizer"))
    assert written == pytest.approx(checkpoint_size(shapes, 0, 0) - checkpoint_size({}, 0, 0), abs=200)


def test_frozen_weights_have_no_moments():
    model = build()
    for parameter in model.layers.parameters():
        parameter.requires_grad_(False)
    optim = RunConfig.model_validate({"data": {"train": ["x"]}}).optim
    kept = shapes_in_checkpoint(model, optim)["optimizer"]
    assert kept
    assert not any(name.startswith("layers.") for name in kept)
