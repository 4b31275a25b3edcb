"""Optimizers, clipping and schedules; which weight gets which optimizer, decay and learning rate."""

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from bittygpt.checks.finding import Finding, Named, Pairs, check, compare, counted, equal, paired
from bittygpt.checks.subject import Subject
from bittygpt.config import OptimSection
from bittygpt.core import SGD, Adam, AdamW, Muon, Optimizer, clip_grad_norm
from bittygpt.core.muon import NEWTON_SCHULZ, orthogonalize
from bittygpt.engine.optimizers import fused, grad_clip
from bittygpt.training.optimizers import build_optimizers
from bittygpt.training.step import update_weights
from bittygpt.training.timing.learning_rate import learning_rate

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
        _give(weights, of_step)
        optimizer.step()
    return [weight.detach() for weight in weights]


def _give(weights: Sequence[Tensor], gradients: Sequence[Tensor]) -> None:
    for weight, gradient in zip(weights, gradients, strict=True):
        weight.grad = gradient.clone()


def against(subject: Subject, ours: type[Optimizer], theirs: Any, settings: dict[str, Any]) -> Finding:
    """Two optimizers side by side: the same weights, the same gradients, small and large ones."""
    shapes = [(130, 512), (6, 20), (7,)]
    starts = [subject.normal(*shape) for shape in shapes]
    gradients = [[subject.normal(*shape) * 10.0 ** (step - 2) for shape in shapes] for step in range(STEPS)]

    def compute(kind: Any) -> Named:
        build = partial(kind, lr=LR, weight_decay=DECAY, **settings)
        return dict(zip(map(str, shapes), after_steps(build, starts, gradients), strict=True))

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
        right[str(tuple(start.shape))] = weight

    def compute(kind: Any) -> Named:
        build = partial(kind, lr=LR, momentum=momentum, weight_decay=DECAY)
        return dict(zip(right, after_steps(build, starts, gradients), strict=True))

    return compare(compute, Muon, fused(Muon), right, 1e-3)


@check("clipping equals torch's, by one norm", look_in="core/grad_clip.py")
def clipping_equals_torch(subject: Subject) -> Finding:
    """Gradients of very different sizes keep their proportions; those below the limit stay as they are."""
    gradients = [0.1 * subject.normal(5, 4), 3 * subject.normal(6), subject.normal(2, 3)]

    def compute(clip: Clip) -> Named:
        found: Named = {}
        for limit in (1.0, 1e6):
            weights = [torch.zeros_like(g, requires_grad=True) for g in gradients]
            _give(weights, gradients)
            found[f"norm with a limit of {limit:g}"] = clip(weights, limit)
            found |= {f"gradient {n} with a limit of {limit:g}": w.grad for n, w in enumerate(weights)}  # type: ignore[misc]
        return found

    right = compute(torch.nn.utils.clip_grad_norm_)
    return compare(compute, clip_grad_norm, grad_clip.clip_grad_norm, right)


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


@check("the learning rate follows its schedule", look_in="training/timing/learning_rate.py")
def schedule_equals_closed_form(subject: Subject) -> Finding:
    """The first step is lr / warmup_steps, the last of the warm-up lr, the very last min_lr: an off-by-one shows.

    Each schedule along a hundred steps; the config's own along its first hundred, and a hundred of all.
    """
    own, total = subject.config.optim, subject.config.train.max_steps
    if total is None or own.warmup_steps is None:  # a clock ends the run: any number of steps
        total, own = 1000, own.model_copy(update={"warmup_steps": 50})
    changes = {"warmup_steps": 10, "min_lr": own.lr / 10}
    courses = [
        (own.model_copy(update={"schedule": s, **changes}), 100) for s in ("cosine", "wsd", "constant")
    ]
    pairs: Pairs = {}
    for optim, last in (*courses, (own, total)):
        steps = np.arange(1, min(last, 100) + 1)
        steps = np.unique(np.concatenate([steps, np.linspace(1, last, 100).round()]))
        rates = torch.tensor([learning_rate(int(step), optim, last) for step in steps], dtype=torch.float64)
        pairs[f"{optim.schedule} of {last} steps"] = rates, torch.from_numpy(closed_form(optim, last, steps))
    return equal(pairs, 1e-6)


@check("decay on matrices alone, each weight once", look_in="training/optimizers.py", always=True)
def parameter_groups(subject: Subject) -> Finding:
    """Without any gradient, a step shrinks matrices by lr · decay and leaves gains as they are: theirs is about 1."""
    model = subject.model(qk_norm=True)
    optim = subject.config.optim.model_copy(update={"weight_decay": DECAY})
    optimizers = build_optimizers(model, optim)
    owners = [p for o in optimizers for group in o.param_groups for p in group["params"]]
    once = {id(p) for p in owners} == {id(p) for p in model.parameters()} and len(owners) == len(set(owners))
    wrong = [] if once else ["some weights are in no optimizer or in two"]
    names = {p: name for name, p in model.named_parameters()}
    for group in (group for optimizer in optimizers for group in optimizer.param_groups):
        decay = group["weight_decay"] * group.get("lr_scale", 1.0)
        for p in group["params"]:
            right = DECAY if p.ndim >= 2 else 0.0
            if not math.isclose(decay, right, rel_tol=1e-6):
                wrong.append(f"{names[p]} decays by {decay:g} instead of {right:g}")
    finding = counted(len(wrong), len(names), "weights")
    return Finding(": ".join([finding.text, *wrong[:1]]), len(wrong), 0)


@check("embeddings learn at a rate of their own", look_in="training/optimizers.py", always=True)
def learning_rates_of_groups(subject: Subject) -> Finding:
    """Entries of 1 are sqrt(D) times as large as a matrix's, so the adaptive optimizers move them as much faster."""
    model, optim = subject.model(), subject.config.optim
    optimizers = build_optimizers(model, optim)
    update_weights(optimizers, LR)
    embedding = model.token_embeddings.weight
    tied = subject.shape.tie_embeddings
    fast = 1.0 if tied or optim.name == "sgd" else math.sqrt(subject.shape.d_model)
    pairs: Pairs = {}
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            is_embedding = any(p is embedding for p in group["params"])
            right = LR * (fast if is_embedding else 1.0)
            name = f"learning rate of the {'embedding' if is_embedding else 'matrices and gains'}"
            pairs[name] = torch.tensor(group["lr"]), torch.tensor(right)
    return equal(pairs, 1e-6)
