"""Learning-rate schedules: up from zero while the moments fill, then down, so that the last steps settle.

Where the number of steps is known, `step` counts from 1 to `total_steps`, as the metrics do; the first step of a
warm-up is max_lr / warmup_steps, not 0. Where a clock ends the run, `progress` says which share of it is behind us:
from 0 to 1, its value at the last step.
"""

import math


def warmup(step: int, max_lr: float, warmup_steps: int) -> float:
    """A straight line that reaches max_lr at step `warmup_steps`; max_lr from there on."""
    return max_lr * min(1.0, step / warmup_steps) if warmup_steps else max_lr


def cosine_decay(progress: float, max_lr: float, min_lr: float) -> float:
    """Half a cosine: max_lr at progress 0, flat there, steepest half-way, min_lr at 1 and flat again."""
    return min_lr + 0.5 * (max_lr - min_lr) * (1 + math.cos(math.pi * progress))


def linear_decay(progress: float, max_lr: float, min_lr: float) -> float:
    """A straight line: max_lr at progress 0, min_lr at 1."""
    return max_lr + (min_lr - max_lr) * progress


def wsd_decay(progress: float, max_lr: float, min_lr: float, decay_fraction: float = 0.2) -> float:
    """max_lr, and in the last `decay_fraction` of the way (0: never) a straight line to min_lr."""
    if progress <= 1 - decay_fraction:
        return max_lr
    return linear_decay(1 - (1 - progress) / decay_fraction, max_lr, min_lr)


def constant_schedule(step: int, max_lr: float, warmup_steps: int) -> float:
    """Warm-up, then max_lr for ever."""
    return warmup(step, max_lr, warmup_steps)


def cosine_schedule(step: int, max_lr: float, min_lr: float, warmup_steps: int, total_steps: int) -> float:
    """Warm-up, then half a cosine from max_lr to min_lr at `total_steps`, then min_lr (Loshchilov & Hutter 2017)."""
    if step <= warmup_steps:
        return warmup(step, max_lr, warmup_steps)
    progress = min(1.0, (step - warmup_steps) / max(1, total_steps - warmup_steps))
    return cosine_decay(progress, max_lr, min_lr)


def wsd_schedule(
    step: int, max_lr: float, min_lr: float, warmup_steps: int, total_steps: int, decay_fraction: float = 0.2
) -> float:
    """Warm-up, stable at max_lr, then a straight line to min_lr in the last steps (Hu et al. 2024, MiniCPM).

    A run on the stable part can be prolonged without having planned its end. Where the end is known, a long decay
    (up to 1: a straight line all the way) serves better than the cosine: Bergsma et al. 2025, "Straight to zero".
    """
    decay_steps = max(1, round(decay_fraction * total_steps))
    if step <= total_steps - decay_steps:
        return warmup(step, max_lr, warmup_steps)
    progress = min(1.0, (step - (total_steps - decay_steps)) / decay_steps)
    return min(warmup(step, max_lr, warmup_steps), linear_decay(progress, max_lr, min_lr))
