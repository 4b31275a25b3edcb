"""Progress of downloading, counting, merging and encoding: a bar on a terminal, now and then a line in a pipe."""

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

from bittygpt.terminal.console import draws, duration, log, log_console

LINE_EVERY = 5.0  # seconds, in a pipe


def _bars() -> "Progress":
    from rich.progress import (  # 30 ms that a pipe does not need
        BarColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.percentage:>3.0f}%"))
    return Progress(*columns, TimeRemainingColumn(), console=log_console())


class PreparationProgress:
    """Call it with what is being done, how far, and of how much (0: not known). One bar for each thing done."""

    def __init__(self) -> None:
        self._tasks: dict[str, TaskID] = {}
        self._begun: dict[str, tuple[float, int]] = {}  # when each thing was begun, and how far it was then
        self._last_line = time.monotonic()
        self._bars = _bars() if draws() else None

    def __enter__(self) -> "PreparationProgress":
        if self._bars:
            self._bars.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if self._bars:
            if kind is None:
                for task in self._bars.tasks:
                    self._bars.update(task.id, total=task.total or 1, completed=task.total or 1)
            self._bars.stop()

    def _time_left(self, what: str, done: int, total: int) -> str:
        since, first = self._begun[what]
        if done <= first:
            return ""
        return f", {duration((time.monotonic() - since) / (done - first) * (total - done))} left"

    def __call__(self, what: str, done: int, total: int) -> None:
        """Show the state of one thing."""
        self._begun.setdefault(what, (time.monotonic(), done))
        if self._bars:
            if what not in self._tasks:
                self._tasks[what] = self._bars.add_task(what, total=total or None)
            self._bars.update(
                self._tasks[what], completed=min(done, total) if total else done, total=total or None
            )
        elif time.monotonic() - self._last_line >= LINE_EVERY:
            self._last_line = time.monotonic()
            log(
                f"{what}: {100 * min(done, total) // total} %{self._time_left(what, done, total)}"
                if total
                else what
            )
