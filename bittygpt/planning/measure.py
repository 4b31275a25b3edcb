"""What a plan measures: some steps of the run itself, on its own device and in its own shapes; nothing is kept."""

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from statistics import fmean

import torch

from bittygpt.data.batches import Batch
from bittygpt.planning.cpu_load import seconds_of_others
from bittygpt.training.devices.device import Device
from bittygpt.training.distributed.parallel import snapshot
from bittygpt.training.evaluation import evaluate
from bittygpt.training.executor import Executor
from bittygpt.training.timing.process_clock import process_age
from bittygpt.training.validation import evaluation_batch_size

ENOUGH_SECONDS = 6.0  # of timed steps; more only where three take longer
FEWEST_STEPS, MOST_STEPS = 3, 100
PART_SECONDS = 1.5  # a step longer than this is timed by some of its micro-batches
EVALUATION_SECONDS = 1.0
TINY_LR = 1e-12  # leaves the weights, and so the speed of a step, as they are


@dataclass(frozen=True)
class Measured:
    """Seconds, and bytes of memory.

    `start`: from the start of the process to the end of its first step, but for the time of one later step.
    `step`: gradients and update; `micro_batch` and `update` are its parts. `evaluation`: one forward pass of
    `evaluation_size` sequences. `memory`: the most that was held, of the whole process on a CPU. `others`: processors
    that other programs kept busy meanwhile.
    """

    micro_batch_size: int
    accumulation: int
    steps: int
    start: float
    step: float
    micro_batch: float
    update: float
    evaluation: float
    evaluation_size: int
    memory: int
    others: float = 0.0


def measure(
    executor: Executor, batch: Batch, vocab_size: int, at_start: bool, say: Callable[[str], None]
) -> Measured:
    """Warm up, then time steps and an evaluation. Model and optimizers are no good for a run afterwards.

    Means, not medians: what slows some steps here (other programs, say) will slow some of the run's.

    Args:
        batch: of a whole step.
        at_start: the run has no checkpoint yet, and holds a copy of its first weights to go back to.

    Raises:
        OutOfMemoryError: it does not fit.
    """
    start_copy = snapshot(executor.model) if at_start else None  # held until all is measured, as the run does
    executor.start(batch)
    size = executor.micro_batch_size
    accumulation = -(-len(batch.ids) // size)
    first = _timed(executor, lambda: _step(executor, batch.rows(0, size)))
    started = process_age()
    parts = min(accumulation, max(2, int(PART_SECONDS / max(first, 1e-6))))
    part = batch.rows(0, parts * size)
    is_slow = first > ENOUGH_SECONDS  # then the first step's warming up is little of it
    if is_slow:
        say(f"a micro-batch takes {first:,.0f} s; {parts} more, and an evaluation")
    else:
        _step(executor, part)  # on a GPU it is captured
    worked_before, since = seconds_of_others(), time.perf_counter()
    gradients, updates = _time_steps(executor, part, 1 if is_slow else FEWEST_STEPS)
    others = max(0.0, (seconds_of_others() - worked_before) / (time.perf_counter() - since))
    whole_gradients = fmean(gradients) * accumulation / parts
    evaluation_size = evaluation_batch_size(executor.micro_batch_size, batch.ids.shape[1])
    evaluation = _time_evaluation(executor, batch, evaluation_size, vocab_size)
    del start_copy
    return Measured(
        micro_batch_size=executor.micro_batch_size,
        accumulation=accumulation,
        steps=len(gradients),
        start=max(0.0, started - whole_gradients / accumulation - fmean(updates)),
        step=whole_gradients + fmean(updates),
        micro_batch=whole_gradients / accumulation,
        update=fmean(updates),
        evaluation=evaluation,
        evaluation_size=evaluation_size,
        memory=round(executor.device.peak_memory_gb() * 1e9),
        others=others,
    )


def _step(executor: Executor, batch: Batch) -> None:
    executor.gradients(batch, False)
    executor.update(TINY_LR)


def _timed(executor: Executor, action: Callable[[], object]) -> float:
    executor.device.synchronize()
    since = time.perf_counter()
    action()
    executor.device.synchronize()
    return time.perf_counter() - since


def _time_steps(executor: Executor, batch: Batch, fewest: int) -> tuple[list[float], list[float]]:
    """Seconds that gradients and updates took, step by step."""
    gradients: list[float] = []
    updates: list[float] = []
    while len(gradients) < MOST_STEPS and (
        len(gradients) < fewest or sum(gradients) + sum(updates) < ENOUGH_SECONDS
    ):
        gradients.append(_timed(executor, lambda: (executor.gradients(batch, False), batch.hash())))
        updates.append(_timed(executor, lambda: executor.update(TINY_LR)))
    return gradients, updates


def _time_evaluation(executor: Executor, batch: Batch, size: int, vocab_size: int) -> float:
    """Seconds of one forward pass without gradients."""
    rows = torch.arange(size) % len(batch.ids)
    passed = Batch(batch.ids[rows], batch.targets[rows])
    token_bytes = torch.ones(vocab_size, dtype=torch.int64)

    def evaluate_it() -> None:
        evaluate(executor.model, [passed], token_bytes, executor.device, executor.ranks)

    evaluate_it()
    seconds: list[float] = []
    while not seconds or (sum(seconds) < EVALUATION_SECONDS and len(seconds) < MOST_STEPS):
        seconds.append(_timed(executor, evaluate_it))
    return fmean(seconds)


def current_memory() -> int:
    """Bytes of main memory that this process holds; where the system does not tell, the most that it has held."""
    try:
        with open("/proc/self/statm", encoding="ascii") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return round(Device(torch.device("cpu"), "fp32").peak_memory_gb() * 1e9)
