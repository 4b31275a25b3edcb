"""What a model is made of, by part: its weights, what a token costs, and what a checkpoint of it takes on the disk."""

import json
import math
from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import Tensor

from bittygpt.config import OptimSection
from bittygpt.core import TransformerLM
from bittygpt.engine.uninitialized import uninitialized_model
from bittygpt.training.checkpoints.checkpoint import optimizer_tensors
from bittygpt.training.devices.memory import FLOAT
from bittygpt.training.optimizers import build_optimizers
from bittygpt.training.step import update_weights

Shapes = Mapping[str, tuple[int, ...]]
FORWARD_SHARE = (
    1 / 3
)  # of a step's operations: the backward pass does each product twice, once for either side
BESIDE_CONFIG = 1_500  # bytes of a checkpoint's state.json and manifest.json, about


def parameters_by_part(model: TransformerLM) -> dict[str, int]:
    """How many numbers are learned in embedding, attention, feed-forward layers, norms and head.

    With `tie_embeddings` the head is the embedding's table, and has none of its own.
    """
    parts = dict.fromkeys(("embedding", "attention", "feed-forward", "norms", "head"), 0)
    for name, parameter in model.named_parameters():
        parts[_part_of(name, parameter)] += parameter.numel()
    return parts


def _part_of(name: str, parameter: Tensor) -> str:
    if parameter.ndim < 2:
        return "norms"
    if name.startswith("layers."):
        return "attention" if ".attn." in name else "feed-forward"
    return "head" if name.startswith("lm_head.") else "embedding"


def flops_by_part(model: TransformerLM) -> dict[str, int]:
    """Floating-point operations for a token of training, forward and backward, as `model.flops_per_token` counts them.

    Projections are q, k, v and output; scores are the products of attention itself, the mask not taken off. What is
    looked up, added or normalised counts for nothing beside the products.
    """
    config, parts = model.config, parameters_by_part(model)
    return {
        "projections": 6 * parts["attention"],
        "scores": 12 * config.num_layers * config.d_model * config.context_length,
        "feed-forward": 6 * parts["feed-forward"],
        "head": 6 * config.vocab_size * config.d_model,
    }


def shapes_in_checkpoint(model: TransformerLM, optim: OptimSection) -> dict[str, Shapes]:
    """The tensors in both files of a checkpoint by name, as their shapes.

    What the optimizers keep follows from their own code: they take a step on a small model of the same layers, and what
    has the shape of its weight there has it here.
    """
    config = model.config
    small = replace(config, vocab_size=2, d_model=2 * config.num_heads, d_ff=2, context_length=1)
    copy = uninitialized_model(small, "cpu")
    shapes = {name: tuple(p.shape) for name, p in model.named_parameters()}
    for mine, theirs in zip(copy.parameters(), model.parameters(), strict=True):
        mine.requires_grad_(theirs.requires_grad)
        mine.grad = torch.zeros_like(mine) if theirs.requires_grad else None
    optimizers = build_optimizers(copy, optim)
    update_weights(optimizers, 1.0)
    small_shapes = {name: tuple(p.shape) for name, p in copy.named_parameters()}
    kept = {}
    for key, tensor in optimizer_tensors(copy, optimizers).items():
        weight = key.rsplit("/", 1)[0]
        kept[key] = shapes[weight] if tuple(tensor.shape) == small_shapes[weight] else tuple(tensor.shape)
    return {"model": shapes, "optimizer": kept}


def moments_in(shapes: dict[str, Shapes]) -> int:
    """How many numbers the optimizers keep, by the tensors of a checkpoint."""
    return sum(math.prod(shape) for shape in shapes["optimizer"].values())


def checkpoint_size(shapes: dict[str, Shapes], vocabulary_bytes: int, config_bytes: int) -> int:
    """Bytes of a checkpoint's folder: two files of tensors, vocab.json, config.yaml, and what little stands beside."""
    return sum(map(_safetensors_size, shapes.values())) + vocabulary_bytes + config_bytes + BESIDE_CONFIG


def _safetensors_size(shapes: Shapes) -> int:
    """A header in JSON with name, type, shape and place of each tensor, then the numbers one after the other."""
    header: dict[str, object] = {"__metadata__": {"format": "pt"}}
    place = 0
    for name, shape in shapes.items():
        end = place + FLOAT * math.prod(shape)
        header[name] = {"dtype": "F32", "shape": list(shape), "data_offsets": [place, end]}
        place = end
    return 8 + len(json.dumps(header, separators=(",", ":"))) + place
