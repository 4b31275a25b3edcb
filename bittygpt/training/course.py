"""The way of a run from its first step to its last: how far it is, and the learning rate there."""

from collections.abc import Callable, Generator
from typing import TYPE_CHECKING, Any

from bittygpt.training.optimizers import learning_rate
from bittygpt.training.pace import Pace
from bittygpt.training.reports import Report
from bittygpt.training.step import Word
from bittygpt.training.time_budget import TimeCourse

if TYPE_CHECKING:
    from bittygpt.config import RunConfig


class StepCourse:
    """A run of a known number of steps. The same questions as to a `TimeCourse`."""

    def __init__(self, config: "RunConfig", pace: Pace) -> None:
        assert config.train.max_steps is not None
        self.optim, self.total_steps, self.pace = config.optim, config.train.max_steps, pace

    def seconds_left(self) -> float | None:
        """No deadline."""
        return None

    def is_late(self) -> bool:
        """Never."""
        return False

    def is_over(self, step: int) -> bool:
        """Whether the step was the last one."""
        return step >= self.total_steps

    def prepare(self, *_: object) -> Generator[Report, None, bool]:
        """Nothing to find out; the run may go on."""
        yield from ()
        return True

    def begin_step(self, step: int) -> Word:
        """What to say of the step."""
        self.pace.begin_step()
        return Word(step / self.total_steps)

    def take_step(self, step: int, _progress: float) -> float:
        """The learning rate of a step."""
        return learning_rate(step, self.optim, self.total_steps)

    def state(self) -> dict[str, Any]:
        """Nothing: the number of the step is all."""
        return {}

    def restore(self, state: dict[str, Any]) -> None:
        """Nothing to do."""


Course = StepCourse | TimeCourse


def course_of(config: "RunConfig", pace: Pace, clock: Callable[[], float], is_main: bool) -> Course:
    """By the clock where the config has a time budget, else by the number of steps."""
    if config.train.time_budget is None:
        return StepCourse(config, pace)
    return TimeCourse(config, pace, clock, is_main)


def has_ended(config: "RunConfig", state: dict[str, Any]) -> bool:
    """Whether a checkpoint's state is that after the last step."""
    is_last_step = config.train.max_steps is not None and state["step"] >= config.train.max_steps
    return is_last_step or state.get("time_budget", {}).get("progress", 0.0) >= 1
