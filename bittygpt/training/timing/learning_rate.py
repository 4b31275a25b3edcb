"""The learning rate of a step, by `optim.schedule` and the step's number, or the share of the run that is done."""

from bittygpt.config import OptimSection
from bittygpt.core import constant_schedule, cosine_decay, cosine_schedule, wsd_decay, wsd_schedule

DEFAULT_WARMUP, LONGEST_WARMUP = 0.05, 0.25  # of a run whose number of steps is not known


def learning_rate(step: int, optim: OptimSection, total_steps: int) -> float:
    """The learning rate of a step, counted from 1, by `optim.schedule`."""
    assert optim.warmup_steps is not None
    if optim.schedule == "constant":
        return constant_schedule(step, optim.lr, optim.warmup_steps)
    schedule = (step, optim.lr, optim.min_lr, optim.warmup_steps, total_steps)
    if optim.schedule == "wsd":
        return wsd_schedule(*schedule, decay_fraction=optim.decay_fraction)
    if optim.schedule == "cosine":
        return cosine_schedule(*schedule)
    raise ValueError(f"optim.schedule {optim.schedule} has no formula here")


def learning_rate_of_progress(
    step: int, progress: float, warm_at: float, optim: OptimSection
) -> tuple[float, bool]:
    """The learning rate of a step of a run that a clock ends, and whether the warm-up is behind it.

    The warm-up is `optim.warmup_steps` long, but no longer than a quarter of the run; null: a twentieth of the run.

    Args:
        progress: the share of the run that is behind it after the step.
        warm_at: the progress at the last step of the warm-up.
    """
    share = progress / (DEFAULT_WARMUP if optim.warmup_steps is None else LONGEST_WARMUP)
    counted = 0.0 if optim.warmup_steps is None else step / max(1, optim.warmup_steps)
    warmth = 1.0 if optim.warmup_steps == 0 else min(1.0, max(share, counted))
    down = optim.lr
    if optim.schedule == "wsd":
        down = wsd_decay(progress, optim.lr, optim.min_lr, optim.decay_fraction)
    elif optim.schedule == "cosine":
        if warmth == 1:
            down = cosine_decay((progress - warm_at) / max(1e-9, 1 - warm_at), optim.lr, optim.min_lr)
    elif optim.schedule != "constant":
        raise ValueError(f"optim.schedule {optim.schedule} has no formula here")
    return min(optim.lr * warmth, down), warmth == 1
