"""What a model is made of, by part: its weights, what a token costs, and what a checkpoint of it takes on the disk."""

import json
from collections.abc import Iterable

import torch
from torch import Tensor

from bittygpt.core import TransformerLM
from bittygpt.training.checkpoint import optimizer_tensors
from bittygpt.training.optimizers import build_optimizers
from bittygpt.training.saved_tensors import model_without_numbers
from bittygpt.training.step import update_weights

FORWARD_SHARE = (
    1 / 3
)  # of a step's operations: the backward pass does each product twice, once for either side
BESIDE_TENSORS = 6_000  # bytes of a checkpoint: config, state and manifest
VOCABULARY_ENTRY = 24  # bytes in vocab.json, about


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
    return "embedding" if name.startswith("token_embeddings.") else "head"


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


def tensors_of_checkpoint(model: TransformerLM, optim: object) -> dict[str, dict[str, Tensor]]:
    """The tensors of both files of a checkpoint, without their numbers.

    The optimizers take a step on a model that has a shape and no numbers: what they keep follows from their own code.
    """
    copy = model_without_numbers(model.config)
    for mine, theirs in zip(copy.parameters(), model.parameters(), strict=True):
        mine.requires_grad_(theirs.requires_grad)
        mine.grad = torch.empty_like(mine) if theirs.requires_grad else None
    optimizers = build_optimizers(copy, optim)  # type: ignore[arg-type]
    update_weights(optimizers, 1.0)
    return {"model": dict(copy.state_dict()), "optimizer": optimizer_tensors(copy, optimizers)}


def moments_in(tensors: dict[str, dict[str, Tensor]]) -> int:
    """How many numbers the optimizers keep, by the tensors of a checkpoint."""
    return sum(tensor.numel() for tensor in tensors["optimizer"].values())


def checkpoint_size(tensors: dict[str, dict[str, Tensor]], vocabulary_bytes: int) -> int:
    """Bytes of a checkpoint's folder: two files of tensors, the vocabulary, and what little stands beside them."""
    return (
        sum(_safetensors_size(group.items()) for group in tensors.values())
        + vocabulary_bytes
        + BESIDE_TENSORS
    )


def _safetensors_size(tensors: Iterable[tuple[str, Tensor]]) -> int:
    """A header in JSON with name, type, shape and place of each tensor, then the numbers one after the other."""
    header: dict[str, object] = {"__metadata__": {"format": "pt"}}
    place = 0
    for name, tensor in tensors:
        end = place + tensor.numel() * tensor.element_size()
        header[name] = {"dtype": "F32", "shape": list(tensor.shape), "data_offsets": [place, end]}
        place = end
    return 8 + len(json.dumps(header, separators=(",", ":"))) + place
