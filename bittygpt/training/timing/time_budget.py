"""A run that ends when its time is up: how far it is, and when to take the last step.

Progress grows with each step by that step's share of what is left: (1 - progress) / n, where n steps, this one
included, still fit in before the deadline. At a constant speed that is step / total steps. When the speed moves,
progress goes on from where it is, faster or slower: the learning rate, a function of it, has no jumps, and is at its
end when the time is.

Rank 0's clock decides for all: its progress travels with the loss of the step.
"""

import math
from collections.abc import Callable, Generator, Mapping
from typing import Any

from bittygpt.config import RunConfig, TrainSection
from bittygpt.training.checkpoints.saving import Saver
from bittygpt.training.events import OutOfTimeReport, Report, SampleDueReport
from bittygpt.training.executor import Executor
from bittygpt.training.step import NO_BROADCAST, Broadcast
from bittygpt.training.timing.learning_rate import learning_rate_of_progress
from bittygpt.training.timing.step_timer import Pause, StepTimer
from bittygpt.training.validation import Validation

SHUTDOWN_SECONDS = 0.3  # from the last pause to the end of the process
WANDB_SECONDS = 2.0  # for Weights & Biases to send the rest and end its own process, besides
DRAWING_SECONDS = 0.5  # of loss.png and report.html, for as long as it was not measured
NEVER = 10**12  # steps
TOLERANCE = 0.01  # of the budget, after which an evaluation is broken off
HORIZON = 0.1  # the speed is measured over the last steps, as far back as this share of the time that is left
MOST_OF_BUDGET = 1 / 3  # that an evaluation may take
SAVED_A_SECOND = 200e6  # bytes, for as long as no checkpoint was measured
MANY_STEPS = 2000  # for as long as nothing is known of the speed


class BudgetProgress:
    """The way of a run with a time budget of `seconds`, all included.

    `clock` counts from the start of this process. `max_steps` ends the run too, if it comes first.
    """

    def __init__(
        self, config: RunConfig, timer: StepTimer, clock: Callable[[], float], is_main: bool
    ) -> None:
        assert config.train.time_budget is not None
        self.seconds, self.max_steps = config.train.time_budget, config.train.max_steps
        self.optim, self.timer, self.clock, self.is_main = config.optim, timer, clock, is_main
        self.shutdown = shutdown_seconds(config.train)
        self.progress, self.warm_at = 0.0, 0.0
        self.total_steps = self.max_steps
        self._used_before = 0.0
        self._known: dict[str, float] = {}
        self._clock_decides = True

    def used(self) -> float:
        """Seconds of the budget that are gone; those between an interruption and the next start are not counted."""
        return self._used_before + self.clock()

    def seconds_left(self) -> float | None:
        """Until the deadline; None where the number of steps ends the run before it."""
        return max(0.0, self.seconds - self.used()) if self._clock_decides else None

    def is_past_deadline(self) -> bool:
        """Whether the time is up, and a little more: an evaluation is to be broken off."""
        return self.is_main and self.used() > self.seconds * (1 + TOLERANCE)

    def is_over(self, step: int) -> bool:
        """Whether the step was the last one."""
        return self.progress >= 1 or (self.max_steps is not None and step >= self.max_steps)

    def prepare(
        self, step: int, executor: Executor, validation: Validation, saver: Saver
    ) -> Generator[Report, None, bool]:
        """Find out how long pauses will take; False: there is no time for a step, but there is a checkpoint.

        After the start there has to be one, so one step is taken, whatever the time.
        """
        broadcast = executor.ranks.broadcast
        train = validation.train
        save = self._known.get("save", saver.needed / SAVED_A_SECOND)
        self.timer.expect("save", train.save_every, at_end=True, seconds=broadcast(save))
        if train.sample_every is not None:
            known = self._known.get("samples")
            self.timer.expect("samples", train.sample_every, at_end=True, seconds=broadcast(known or 0.0))
            if known is None:
                # how long a text takes, only writing one shows, and the end must leave room for it
                with self.timer.pause("samples"):
                    yield SampleDueReport(step)
        drawing = self._known.get("drawing", DRAWING_SECONDS)
        self.timer.expect("drawing", NEVER, at_end=True, seconds=broadcast(drawing))
        if validation.is_wanted:
            seconds = self._known.get("evaluation")
            if broadcast(seconds) is None:
                seconds = validation.expected_seconds(executor, self.clock)
            seconds = broadcast(seconds)
            assert seconds is not None
            validation.is_left_out = seconds > self.seconds * MOST_OF_BUDGET
            if validation.is_left_out:
                yield OutOfTimeReport(step, "evaluations", seconds, self.seconds)
            else:
                self.timer.expect("evaluation", train.eval_every, at_end=True, seconds=seconds)
        has_time = broadcast(self._has_time())
        if not has_time and not self.is_over(step):
            self.total_steps = max(1, step)
            yield OutOfTimeReport(step, "steps", self.used(), self.seconds)
        return has_time or step == 0

    def begin_step(self, step: int) -> Broadcast:
        """What rank 0 broadcasts with `step`: the progress after it, 1 if it is the last one."""
        self.timer.begin_step()
        if not self.is_main:
            return NO_BROADCAST
        left = self._seconds_for_steps()
        each = self.timer.step_seconds()
        fit = MANY_STEPS if each is None else self.timer.steps_within(left, step, each)
        fit = fit if left > 0 else 0
        most = math.inf if self.max_steps is None else self.max_steps - step + 1
        count = int(max(1, min(fit, most)))
        self._clock_decides = fit <= most
        self.total_steps = self.max_steps if each is None and count > 1 else step - 1 + count
        if count > 1 and not self.timer.is_settled:
            count = int(min(max(count, MANY_STEPS), most))
        may_pause = left - (each or 0) >= self.timer.no_pause_seconds()
        return Broadcast(self.progress + (1 - self.progress) / count, may_pause)

    def take_step(self, step: int, progress: float) -> float:
        """Take over the progress that rank 0 has broadcast; gives the learning rate of the step."""
        self.progress = progress
        lr, is_warm = learning_rate_of_progress(step, progress, self.warm_at, self.optim)
        if not is_warm:
            self.warm_at = progress
        return lr

    def state(self) -> dict[str, Any]:
        """What a checkpoint has to know, the time that it takes to write it counted in."""
        return {
            "time_budget": {
                "used": self.used() + self.timer.pause_seconds("save"),
                "progress": self.progress,
                "warm_at": self.warm_at,
                "step_seconds": self.timer.step_seconds(),
                "pause_seconds": {kind: self.timer.pause_seconds(kind) for kind in self.timer.pauses},
            }
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from a checkpoint's state."""
        saved = state["time_budget"]
        self._used_before, self.timer.known_before = saved["used"], saved["step_seconds"]
        self.progress, self.warm_at = saved["progress"], saved["warm_at"]
        self._known = saved["pause_seconds"]

    def _has_time(self) -> bool:
        left = self._seconds_for_steps()
        return left > 0 and left >= (self.timer.step_seconds() or 0.0)

    def _seconds_for_steps(self) -> float:
        left = self.seconds - self.used()
        self.timer.recent_seconds = HORIZON * left
        return left - self.timer.end_seconds() - self.shutdown


def shutdown_seconds(train: TrainSection) -> float:
    """From the last pause to the end of the process."""
    return SHUTDOWN_SECONDS + (0.0 if train.wandb is None else WANDB_SECONDS)


def planned_steps(
    seconds: float,
    start_seconds: float,
    step_seconds: float,
    pauses: Mapping[str, Pause],
    shutdown: float = SHUTDOWN_SECONDS,
) -> int:
    """How many steps a run with a budget of `seconds` takes whose start and whose every step takes so long.

    `pauses` are the kinds that there will be ("save", "evaluation"), with the seconds `expected` of each. At least 1.
    """
    timer = StepTimer(lambda: start_seconds)
    timer.pauses = dict(pauses)
    left = seconds - start_seconds - timer.end_seconds() - DRAWING_SECONDS - shutdown
    return max(1, timer.steps_within(left, 1, step_seconds) if left > 0 else 1)
