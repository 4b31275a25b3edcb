"""From the config to the optimizers of a model: which parameter goes where, and the learning rate of a step."""

from typing import TYPE_CHECKING

from torch import nn
from torch.optim import Optimizer

from bittygpt.core import SGD, Adam, AdamW, Muon, constant_schedule, cosine_schedule, wsd_schedule

if TYPE_CHECKING:
    from bittygpt.config.sections import OptimSection

MOMENTUM = 0.9  # of SGD; Muon has its own


def build_optimizers(model: nn.Module, optim: "OptimSection") -> list[Optimizer]:
    """The optimizers that together update every trainable parameter once.

    Weight decay shrinks matrices alone. A gain of RMSNorm has its right size near 1, not near 0. Muon takes the
    matrices inside the layers; embeddings, head and gains, whose rows are independent of one another, go to AdamW.
    """
    named = [(name, p) for name, p in model.named_parameters() if p.requires_grad]
    inner = [p for name, p in named if p.ndim == 2 and name.startswith("layers.")]
    outer = [p for name, p in named if p.ndim == 2 and not name.startswith("layers.")]
    gains = [p for _, p in named if p.ndim < 2]
    decay = optim.weight_decay

    def groups(matrices: list[nn.Parameter]) -> list[dict[str, object]]:
        both = [{"params": matrices, "weight_decay": decay}, {"params": gains, "weight_decay": 0.0}]
        return [group for group in both if group["params"]]

    if optim.name == "muon":
        optimizers: list[Optimizer] = [Muon(inner, lr=optim.lr, weight_decay=decay)] if inner else []
        return optimizers + (
            [AdamW(groups(outer), optim.lr, optim.betas, optim.eps)] if outer or gains else []
        )
    if optim.name == "sgd":
        return [SGD(groups(inner + outer), lr=optim.lr, momentum=MOMENTUM)]
    kind = {"adam": Adam, "adamw": AdamW}[optim.name]
    return [kind(groups(inner + outer), optim.lr, optim.betas, optim.eps)]


def moments_per_weight(name: str) -> int:
    """How many numbers an optimizer keeps for each weight, at most."""
    return {"adamw": 2, "adam": 2, "muon": 2, "sgd": 1}[name]


def learning_rate(step: int, optim: "OptimSection", total_steps: int) -> float:
    """The learning rate of a step, counted from 1, by `optim.schedule`."""
    if optim.schedule == "constant":
        return constant_schedule(step, optim.lr, optim.warmup_steps)
    schedule = {"cosine": cosine_schedule, "wsd": wsd_schedule}[optim.schedule]
    return schedule(step, optim.lr, optim.min_lr, optim.warmup_steps, total_steps)
