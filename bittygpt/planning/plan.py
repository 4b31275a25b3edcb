"""What a run will take: time, memory and disk space."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bittygpt.config import RunConfig
from bittygpt.data.preparation.expected_tokens import ExpectedTokens
from bittygpt.planning.estimate import Hardware, RankPlan
from bittygpt.planning.measure import Measured
from bittygpt.training.checkpoints.checkpoint_folder import list_checkpoints
from bittygpt.training.checkpoints.saving import free_bytes
from bittygpt.training.devices.device import Device
from bittygpt.training.devices.memory import StepMemory

SAVED_PER_SECOND = 300e6  # bytes of a checkpoint: written, flushed to the disk, read again for its hash
SAVING = 0.1  # seconds of a checkpoint besides
PLOT, LAST_PLOT, PLOT_EVERY = 0.5, 1.5, 30.0  # seconds of loss.png, at an evaluation and at the end
PLOT_BYTES = 40e6  # of main memory, once it has been drawn
PAGES_READ = 1 << 16  # bytes of a file of tokens that come into memory with a sequence
START_ELSEWHERE = 60.0  # seconds of a run on devices that are not here, before its first step


@dataclass(frozen=True)
class TimePlan:
    """Seconds from the command to its end."""

    start: float
    steps_left: int
    step: float
    evaluations: int
    evaluation: float
    saves: int
    save: float
    end: float

    @property
    def total(self) -> float:
        """All together."""
        return (
            self.start
            + self.steps_left * self.step
            + self.evaluations * self.evaluation
            + self.saves * self.save
            + self.end
        )


@dataclass(frozen=True)
class DiskPlan:
    """Checkpoints: bytes of one, how many there are and will be at once, and what is free for more."""

    checkpoint: int
    there: int
    kept: int
    free: int

    @property
    def needed(self) -> int:
        """Bytes that must be free for all that will be kept."""
        return self.checkpoint * max(1, self.kept - self.there)

    @property
    def room_for(self) -> int:
        """How many more checkpoints the free space holds."""
        return self.free // self.checkpoint


@dataclass(frozen=True)
class Plan:
    """All of it. `step`: where the run stands. `measured` None: it was estimated for other devices, or does not fit.

    `memory` and `peak` are bytes of one device (of the process, on a CPU); `process`: of these the program's own.
    """

    run: Path
    device: Device
    step: int
    total_steps: int
    parameters: dict[str, int]
    trained: int
    flops: dict[str, int]
    tokens: ExpectedTokens
    epochs: float | None
    tokens_per_step: int
    batch_size: int
    micro_batch_size: int
    accumulation: int
    memory: StepMemory
    process: int
    start_copy: int
    peak: int
    available: int
    measured: Measured | None
    ranks: Sequence[RankPlan]
    on: Hardware | None
    time: TimePlan | None
    disk: DiskPlan
    faults: tuple[str, ...]
    notes: tuple[str, ...]

    @property
    def tokens_per_second(self) -> float | None:
        """While it trains, evaluations and saves left out."""
        return self.tokens_per_step / self.time.step if self.time and self.time.step else None

    @property
    def mfu(self) -> float | None:
        """The share of the devices' peak that is used; None where that is not known."""
        peak, rate = self.device.peak_flops(), self.tokens_per_second
        return (
            None
            if peak is None or rate is None
            else rate * sum(self.flops.values()) / (peak * self.world_size)
        )

    @property
    def world_size(self) -> int:
        """Ranks that share the batch out."""
        return self.on.world_size if self.on else 1


def due(after: int, last: int, every: int) -> int:
    """How many of the steps after `after` up to `last` are a multiple of `every`, or the last."""
    if last <= after:
        return 0
    return last // every - after // every + (last % every != 0)


def evaluation_windows(config: RunConfig, tokens: ExpectedTokens) -> int:
    """How many windows an evaluation goes over; 0 where nothing is validated on, or nothing tells how much."""
    val, windows, limit = tokens.val or 0, tokens.val_windows or 0, config.train.eval_tokens
    if tokens.val is None and limit is not None:
        return -(-limit // config.model.context_length)
    if val < 2:
        return 0
    if limit is None or limit >= val - 1:
        return windows
    return max(1, round(limit / (val - 1) * windows))


def last_step(config: RunConfig) -> int:
    """The number of the last one; a plan for a time budget has worked it out and put it into the config."""
    assert config.train.max_steps is not None
    return config.train.max_steps


def save_seconds(checkpoint: int) -> float:
    """Of a checkpoint of so many bytes."""
    return SAVING + checkpoint / SAVED_PER_SECOND


def plan_time(
    config: RunConfig,
    step: int,
    start: float,
    step_seconds: float,
    evaluation: float,
    checkpoint: int,
) -> TimePlan:
    """Everything that comes before, between and after the steps, besides the steps.

    Args:
        evaluation: seconds of a whole one, 0 for none.
        checkpoint: bytes.
    """
    last = last_step(config)
    evaluations = due(step, last, config.train.eval_every) if evaluation else 0
    pictures = min(evaluations, (last - step) * step_seconds / PLOT_EVERY)
    return TimePlan(
        start=start,
        steps_left=max(0, last - step),
        step=step_seconds,
        evaluations=evaluations,
        evaluation=evaluation,
        saves=due(step, last, config.train.save_every),
        save=save_seconds(checkpoint),
        end=LAST_PLOT + PLOT * pictures if last > step else 0.0,
    )


def plan_disk(config: RunConfig, folder: Path, step: int, checkpoint: int, validates: bool) -> DiskPlan:
    """What the checkpoints take below a folder: the newest `keep`, and the best one, which may be none of these.

    A run that begins at step 0 finds none: with `--fresh`, those in the folder are kept beside it.
    """
    there = len(list_checkpoints(folder)) if step > 0 else 0
    made = due(step, last_step(config), config.train.save_every)
    kept = min(config.train.keep + validates, there + made)
    return DiskPlan(checkpoint, there, kept, free_bytes(folder))
