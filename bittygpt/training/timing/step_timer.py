"""Measures steps and the pauses between them (evaluations, saves), and predicts the next ones from that."""

from bisect import bisect_right
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from statistics import median

FEWEST, MOST = 20, 1000  # recent steps whose mean is the speed
SETTLED = 3  # steps after which it means something; the first ones do not count, they find everything cold
REMEMBERED = 3  # pauses of a kind whose mean is expected of the next
MOST_SCALING = 4.0  # of them, for steps that have become slower
SHORTEST = 1e-6  # seconds of a step


@dataclass
class Pause:
    """A kind of work between two steps, such as an evaluation.

    `every`: steps between two, more than any run has where only the end is sure to have one; `at_end`: whether the last
    step is followed by one; `expected`: its seconds, for as long as none has been measured. `seen` are those measured,
    as seconds and the median seconds of the steps before.
    """

    every: int
    at_end: bool
    expected: float = 0.0
    seen: deque[tuple[float, float | None]] = field(default_factory=lambda: deque(maxlen=REMEMBERED))


class StepTimer:
    """Watches a run. `clock` counts seconds, from when does not matter. The first `cold` steps tell nothing."""

    def __init__(self, clock: Callable[[], float], cold: int = 1) -> None:
        self.clock, self.cold = clock, cold
        self.pauses: dict[str, Pause] = {}
        self.known_before: float | None = None  # seconds of a step, of the process that stopped
        self.recent_seconds = 0.0  # how far back steps count as recent
        self._steps: deque[float] = deque(maxlen=MOST)
        self._number = 0
        self._began: float | None = None
        self._paused = 0.0

    def begin_step(self) -> None:
        """A step begins, and the one before it ends, if there was one."""
        now = self.clock()
        if self._began is not None:
            if self._number == self.cold:
                self._steps.clear()
            self._steps.append(max(0.0, now - self._began - self._paused))
            self._number += 1
        self._began, self._paused = now, 0.0

    @property
    def is_settled(self) -> bool:
        """Whether the speed is more than a guess."""
        return self._number > SETTLED or self.known_before is not None

    def step_seconds(self) -> float | None:
        """Mean seconds of the recent steps; None before the first. A mean, as slow moments will come again."""
        recent = self._recent()
        return sum(recent) / len(recent) if recent else None

    def _recent(self) -> list[float]:
        """Seconds of each step of the last `recent_seconds`, and of the last 20 steps at least."""
        if self._number <= SETTLED and self.known_before is not None:
            return [self.known_before]
        recent: list[float] = []
        total = 0.0
        for seconds in reversed(self._steps):
            if len(recent) >= FEWEST and total >= self.recent_seconds:
                break
            recent.append(seconds)
            total += seconds
        return recent

    def _usual_step(self) -> float | None:
        return median(self._recent() or [0.0]) or None

    def expect(self, kind: str, every: int, *, at_end: bool, seconds: float) -> None:
        """Expect a pause of a kind every so many steps, which takes so many seconds until one has been measured."""
        self.pauses[kind] = Pause(every, at_end, seconds)

    @contextmanager
    def pause(self, kind: str) -> Iterator[None]:
        """What is done within is no part of a step, nor is a pause within a pause a part of that.

        Around a `yield` it counts in what the caller does then.
        """
        since, paused_before = self.clock(), self._paused
        try:
            yield
        finally:
            seconds = self.clock() - since - (self._paused - paused_before)
            self._paused += seconds
            if kind in self.pauses:
                self.pauses[kind].seen.append((seconds, self._usual_step()))

    def pause_seconds(self, kind: str) -> float:
        """What the next pause of a kind will take: longer than the last ones, if steps are slower now than then."""
        if (pause := self.pauses.get(kind)) is None:
            return 0.0
        if not pause.seen:
            return pause.expected
        now = self._usual_step()
        scaled = [
            seconds * (min(max(now / then, 1 / MOST_SCALING), MOST_SCALING) if now and then else 1.0)
            for seconds, then in pause.seen
        ]
        return sum(scaled) / len(scaled)

    def end_seconds(self) -> float:
        """What follows the last step."""
        return sum(self.pause_seconds(kind) for kind, pause in self.pauses.items() if pause.at_end)

    def no_pause_seconds(self) -> float:
        """Within so many seconds of the end no pause is made: the one at the end comes soon enough."""
        return 2 * sum(self.pause_seconds(kind) for kind in self.pauses)

    def steps_within(self, seconds: float, first_step: int, step_seconds: float) -> int:
        """The most steps, from `first_step` on, that fit into `seconds`, with the pauses between them."""
        between = [(pause.every, self.pause_seconds(kind)) for kind, pause in self.pauses.items()]
        busy = max(0.0, seconds - self.no_pause_seconds())
        steps = steps_within(busy, first_step, step_seconds, between)
        rest = seconds - duration(steps, first_step, step_seconds, between)
        return steps + int(rest / max(step_seconds, SHORTEST))


def duration(count: int, first_step: int, step_seconds: float, pauses: Sequence[tuple[int, float]]) -> float:
    """Seconds of `count` steps, from `first_step` on, with the pauses between them, without what follows the last one.

    Args:
        pauses: of each kind, after every how many steps there is one and how many seconds it takes.
    """
    last = first_step + count - 1
    at = ((last - 1) // every - (first_step - 1) // every for every, _ in pauses)
    return count * step_seconds + sum(n * each for n, (_, each) in zip(at, pauses, strict=True))


def steps_within(
    seconds: float, first_step: int, step_seconds: float, pauses: Sequence[tuple[int, float]]
) -> int:
    """The most steps, from `first_step` on, whose `duration` is no more than `seconds`."""
    counts = range(int(seconds / max(step_seconds, SHORTEST)) + 1)
    fit = bisect_right(counts, seconds, key=lambda count: duration(count, first_step, step_seconds, pauses))
    return max(0, fit - 1)
