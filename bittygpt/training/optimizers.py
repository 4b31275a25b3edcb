"""From the config to the optimizers of a model: which parameter goes where, and how fast it learns."""

import inspect
import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from bittygpt.config import OptimSection
from bittygpt.core import SGD, AdamW, Embedding, Optimizer, TransformerLM
from bittygpt.core.choices import OPTIMIZERS
from bittygpt.engine.optimizers import fused


def build_optimizers(model: TransformerLM, optim: OptimSection, precision: str = "fp32") -> list[Optimizer]:
    """The optimizers that together update every trainable parameter once.

    Weight decay shrinks matrices alone: a gain of RMSNorm has its right size near 1, not near 0. Muon takes the
    matrices inside the layers; embeddings, head and gains, whose rows are independent of one another, go to AdamW.
    `precision` is that of Muon's own products, "fp32" or "bf16".
    """
    kind = OPTIMIZERS[optim.name]
    named = [(name, p) for name, p in model.named_parameters() if p.requires_grad]
    tables = {id(part.weight) for part in model.modules() if isinstance(part, Embedding)}
    embedding = [p for _, p in named if id(p) in tables]
    inner = [p for name, p in named if p.ndim == 2 and id(p) not in tables and name.startswith("layers.")]
    gains = [p for _, p in named if p.ndim < 2]
    elsewhere = {id(p) for p in (*inner, *embedding, *gains)}
    outer = [p for _, p in named if id(p) not in elsewhere]  # the head
    embedding_scale = 1.0 if issubclass(kind, SGD) else embedding_lr_scale(model)

    def groups(matrices: list[nn.Parameter]) -> list[dict[str, Any]]:
        decay, scale = optim.weight_decay, embedding_scale
        parts = [(matrices, decay, 1.0), (embedding, decay / scale, scale), (gains, 0.0, 1.0)]
        return [{"params": ps, "weight_decay": decay, "lr_scale": scale} for ps, decay, scale in parts if ps]

    if not kind.only_matrices:
        everything = groups(inner + outer)
        return [_make(kind, everything, optim, precision)] if everything else []
    rest = groups(outer)
    optimizers = [_make(AdamW, rest, optim, precision)] if rest else []
    return [_make(kind, inner, optim, precision), *optimizers] if inner else optimizers


def _make(kind: type[Optimizer], params: Sequence[Any], optim: OptimSection, precision: str) -> Optimizer:
    """An optimizer by its fast path, if it has one, with those of the settings that it takes."""
    settings: dict[str, Any] = {
        "lr": optim.lr,
        "betas": optim.betas,
        "eps": optim.eps,
        "weight_decay": optim.weight_decay,
        "momentum": optim.betas[0],
        "dtype": torch.bfloat16 if precision == "bf16" else torch.float32,
    }
    taken = inspect.signature(kind).parameters
    return fused(kind)(params, **{name: value for name, value in settings.items() if name in taken})


def embedding_lr_scale(model: TransformerLM) -> float:
    """How many times as fast an embedding learns as a matrix.

    An adaptive step has a size of its own, whatever that of the weight, so one learning rate moves large weights
    less, in proportion, than small ones. A matrix starts with entries of about 1 / sqrt(D), an embedding with entries
    of 1, sqrt(D) times as large; unless it is the head, too, and starts as small as one. Weight decay, which is
    multiplied by the learning rate, is divided by it again: embeddings shrink no faster than matrices.
    """
    config = model.config
    return 1.0 if config.tie_embeddings else math.sqrt(config.d_model)


def moments_per_weight(optim: OptimSection) -> int:
    """How many numbers an optimizer keeps for each weight, at most: it takes a step on a small one."""
    kind = OPTIMIZERS[optim.name]
    counts = []
    for each in {kind, AdamW} if kind.only_matrices else {kind}:
        weight = nn.Parameter(torch.ones(2, 2))
        weight.grad = torch.ones_like(weight)
        optimizer = _make(each, [weight], optim, "fp32")
        optimizer.step()
        state = optimizer.state[weight].values()
        counts.append(sum(isinstance(x, torch.Tensor) and x.shape == weight.shape for x in state))
    return max(counts)
