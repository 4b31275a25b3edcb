"""The progress of a run of a known number of steps, and the learning rate at each."""

from collections.abc import Generator
from typing import Any

from bittygpt.config import RunConfig
from bittygpt.training.events import Report
from bittygpt.training.step import Broadcast
from bittygpt.training.timing.learning_rate import learning_rate
from bittygpt.training.timing.step_timer import StepTimer


class StepProgress:
    """A run of a known number of steps; the same interface as `BudgetProgress`."""

    def __init__(self, config: RunConfig, timer: StepTimer) -> None:
        assert config.train.max_steps is not None
        self.optim, self.total_steps, self.timer = config.optim, config.train.max_steps, timer

    def seconds_left(self) -> float | None:
        """No deadline."""
        return None

    def is_past_deadline(self) -> bool:
        """Never."""
        return False

    def is_over(self, step: int) -> bool:
        """Whether the step was the last one."""
        return step >= self.total_steps

    def prepare(self, *_: object) -> Generator[Report, None, bool]:
        """Nothing to find out; the run may go on."""
        yield from ()
        return True

    def begin_step(self, step: int) -> Broadcast:
        """What rank 0 broadcasts with the step."""
        self.timer.begin_step()
        return Broadcast(step / self.total_steps)

    def take_step(self, step: int, _progress: float) -> float:
        """The learning rate of a step."""
        return learning_rate(step, self.optim, self.total_steps)

    def state(self) -> dict[str, Any]:
        """Nothing: the number of the step is all."""
        return {}

    def restore(self, state: dict[str, Any]) -> None:
        """Nothing to do."""


def has_ended(config: RunConfig, state: dict[str, Any]) -> bool:
    """Whether a checkpoint's state is that after the last step."""
    is_last_step = config.train.max_steps is not None and state["step"] >= config.train.max_steps
    return is_last_step or state.get("time_budget", {}).get("progress", 0.0) >= 1
