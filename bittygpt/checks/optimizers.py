"""Optimizers, clipping, schedule, and which weight is treated how."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from bittygpt.checks.finding import Finding, Named, check, compare, equal, paired, worst_of
from bittygpt.checks.subject import Subject
from bittygpt.config import OptimSection
from bittygpt.core import (
    SGD,
    Adam,
    AdamW,
    Muon,
    Optimizer,
    clip_grad_norm,
    constant_schedule,
    cosine_schedule,
    wsd_schedule,
)
from bittygpt.core.muon import NEWTON_SCHULZ, orthogonalize
from bittygpt.engine import grad_clip
from bittygpt.engine.optimizers import fused
from bittygpt.training.optimizers import learning_rate

STEPS = 5
LR, DECAY = 0.05, 0.2
Build = Callable[[list[Tensor]], torch.optim.Optimizer]
Clip = Callable[[list[Tensor], float], Tensor]


def after_steps(
    build: Build, starts: Sequence[Tensor], gradients: Sequence[Sequence[Tensor]]
) -> list[Tensor]:
    """The weights that an optimizer makes of `starts` by one step for each list of gradients."""
    weights = [start.clone().requires_grad_() for start in starts]
    optimizer = build(weights)
    for of_step in gradients:
        for weight, gradient in zip(weights, of_step, strict=True):
            weight.grad = gradient.clone()
        optimizer.step()
    return [weight.detach() for weight in weights]


def against(subject: Subject, ours: type[Optimizer], theirs: Any, settings: dict[str, Any]) -> Finding:
    """Two optimizers side by side: the same weights, the same gradients, small and large ones."""
    shapes = [(130, 512), (6, 20), (7,)]
    starts = [subject.normal(*shape) for shape in shapes]
    gradients = [[subject.normal(*shape) * 10.0 ** (step - 2) for shape in shapes] for step in range(STEPS)]

    def compute(kind: Any) -> Named:
        found = after_steps(
            lambda weights: kind(weights, lr=LR, weight_decay=DECAY, **settings), starts, gradients
        )
        return {f"a weight of shape {shape}": weight for shape, weight in zip(shapes, found, strict=True)}

    return compare(compute, ours, fused(ours), compute(theirs))


@check("AdamW equals torch's", look_in="core/adamw.py")
def adamw_equals_torch(subject: Subject) -> Finding:
    """Bias correction (both means begin at zero), eps, and decay apart from the gradient."""
    optim = subject.config.optim
    return against(subject, AdamW, torch.optim.AdamW, {"betas": optim.betas, "eps": optim.eps})


@check("Adam equals torch's", look_in="core/adamw.py")
def adam_equals_torch(subject: Subject) -> Finding:
    """As AdamW, but with decay added to the gradient."""
    optim = subject.config.optim
    return against(subject, Adam, torch.optim.Adam, {"betas": optim.betas, "eps": optim.eps})


@check("SGD equals torch's", look_in="core/sgd.py")
def sgd_equals_torch(subject: Subject) -> Finding:
    """With momentum and decay."""
    return against(subject, SGD, torch.optim.SGD, {"momentum": 0.9})


def orthogonalized_by_svd(matrix: Tensor, steps: int = 5) -> Tensor:
    """What Newton-Schulz does, on the singular values themselves, in float64."""
    u, s, vt = torch.linalg.svd(matrix.double(), full_matrices=False)
    s = s / torch.linalg.vector_norm(s)
    a, b, c = NEWTON_SCHULZ
    for _ in range(steps):
        s = a * s + b * s**3 + c * s**5
    return (u * s) @ vt


@check("Muon orthogonalises: all directions equal", look_in="core/muon.py")
def muon_orthogonalises(subject: Subject) -> Finding:
    """Against the singular values by SVD, which after five steps of Newton-Schulz all lie between 0.7 and 1.2."""
    matrices = {f"of a matrix of {m} by {n}": subject.normal(m, n) for m, n in ((8, 8), (6, 20), (20, 6))}
    found = {name: orthogonalize(matrix) for name, matrix in matrices.items()}
    right = {name: orthogonalized_by_svd(matrix) for name, matrix in matrices.items()}
    finding = equal(paired(found, right), 1e-3)
    if not finding.is_right:
        return finding
    spread = max((torch.linalg.svdvals(x.double()) - 1).abs().max().item() for x in found.values())
    return Finding(f"singular values off 1 by {spread:.2f} (limit 0.4)", spread, 0.4)


@check("Muon's step equals its formula", look_in="core/muon.py")
def muon_equals_formula(subject: Subject) -> Finding:
    """Momentum looked one step ahead, made orthogonal by SVD, times lr · 0.2 sqrt(max(m, n)); decay apart from it."""
    momentum, starts = 0.9, [subject.normal(*shape) for shape in ((6, 20), (20, 6), (8, 8))]
    gradients = [[subject.normal(*start.shape) for start in starts] for _ in range(STEPS)]
    right: Named = {}
    for number, start in enumerate(starts):
        weight, mean = start.double(), torch.zeros_like(start, dtype=torch.float64)
        scale = 0.2 * math.sqrt(max(start.shape))
        for of_step in gradients:
            gradient = of_step[number].double()
            mean = momentum * mean + (1 - momentum) * gradient
            ahead = momentum * mean + (1 - momentum) * gradient
            weight = (1 - LR * DECAY) * weight - LR * scale * orthogonalized_by_svd(ahead)
        right[f"a weight of shape {tuple(start.shape)}"] = weight

    def compute(kind: Any) -> Named:
        settings: dict[str, Any] = {"lr": LR, "momentum": momentum, "weight_decay": DECAY}
        found = after_steps(lambda weights: kind(weights, **settings), starts, gradients)
        return dict(zip(right, found, strict=True))

    return compare(compute, Muon, fused(Muon), right, 1e-3)


@check("clipping equals torch's, by one norm", look_in="core/grad_clip.py")
def clipping_equals_torch(subject: Subject) -> Finding:
    """Gradients of very different sizes keep their proportions; those below the limit stay as they are."""
    gradients = [0.1 * subject.normal(5, 4), 3 * subject.normal(6), subject.normal(2, 3)]

    def compute(clip: Clip) -> Named:
        return {
            f"{name} with a limit of {limit:g}": x
            for limit in (1.0, 1e6)
            for name, x in clipped(clip, gradients, limit).items()
        }

    right = compute(torch.nn.utils.clip_grad_norm_)
    return compare(compute, clip_grad_norm, grad_clip.clip_grad_norm, right)


def clipped(clip: Clip, gradients: Sequence[Tensor], limit: float) -> Named:
    """The norm before clipping, and each gradient after it."""
    weights = [torch.zeros_like(g, requires_grad=True) for g in gradients]
    for weight, gradient in zip(weights, gradients, strict=True):
        weight.grad = gradient.clone()
    norm = clip(weights, limit)
    return {"norm": norm} | {f"gradient {n}": w.grad for n, w in enumerate(weights) if w.grad is not None}


def closed_form(optim: OptimSection, total: int, steps: np.ndarray) -> np.ndarray:
    """The learning rate of each step: a straight line up to lr, and down to min_lr at the very last step."""
    assert optim.warmup_steps is not None
    rise = optim.lr * np.minimum(1.0, steps / max(1, optim.warmup_steps))
    if optim.schedule == "constant":
        return rise
    if optim.schedule == "wsd":
        decay_steps = max(1, round(optim.decay_fraction * total))
        return np.minimum(rise, np.interp(steps, [total - decay_steps, total], [optim.lr, optim.min_lr]))
    progress = np.clip((steps - optim.warmup_steps) / max(1, total - optim.warmup_steps), 0, 1)
    cosine = optim.min_lr + (optim.lr - optim.min_lr) * (1 + np.cos(np.pi * progress)) / 2
    return np.where(steps <= optim.warmup_steps, rise, cosine)


@check("the learning rate follows its schedule", look_in="core/schedule.py")
def schedule_equals_closed_form(subject: Subject) -> Finding:
    """The first step is lr / warmup_steps, the last of the warm-up lr, the very last min_lr: an off-by-one shows."""
    own, total = subject.config.optim, subject.config.train.max_steps
    if total is None or own.warmup_steps is None:  # a clock ends the run: any number of steps
        total, own = 1000, own.model_copy(update={"warmup_steps": 50})
    course = (own.lr, own.lr / 10, 10, 100)
    functions: dict[Any, Callable[[int], float]] = {
        "cosine": lambda step: cosine_schedule(step, *course),
        "wsd": lambda step: wsd_schedule(step, *course, decay_fraction=own.decay_fraction),
        "constant": lambda step: constant_schedule(step, own.lr, 10),
    }
    changes = {"warmup_steps": 10, "min_lr": own.lr / 10}
    findings = [
        _along(function, own.model_copy(update={"schedule": name, **changes}), 100, "")
        for name, function in functions.items()
    ]
    findings.append(
        _along(lambda step: learning_rate(step, own, total), own, total, "training/optimizers.py")
    )
    return next((finding for finding in findings if not finding.is_right), worst_of(findings))


def _along(rate: Callable[[int], float], optim: OptimSection, total: int, look_in: str) -> Finding:
    """A learning rate beside its closed form, along the first hundred steps and a hundred of all."""
    steps = np.arange(1, min(total, 100) + 1)
    steps = np.unique(np.concatenate([steps, np.linspace(1, total, 100).round()]))
    ours = torch.tensor([rate(int(step)) for step in steps], dtype=torch.float64)
    return equal({optim.schedule: (ours, torch.from_numpy(closed_form(optim, total, steps)))}, 1e-6, look_in)
