"""A run that a clock ends, on a clock that is set: it is on time, whatever the machine does."""

import itertools
from types import SimpleNamespace

import pytest

from bittygpt.config import RunConfig
from bittygpt.training.events import OutOfTimeReport
from bittygpt.training.timing.learning_rate import learning_rate
from bittygpt.training.timing.progress import has_ended
from bittygpt.training.timing.step_timer import Pause, StepTimer
from bittygpt.training.timing.time_budget import (
    DRAWING_SECONDS,
    SHUTDOWN_SECONDS,
    TOLERANCE,
    WANDB_SECONDS,
    BudgetProgress,
    planned_steps,
)

ENDING = DRAWING_SECONDS + SHUTDOWN_SECONDS


def config_of(budget, **train):
    optim = {
        key: train.pop(key)
        for key in ("schedule", "warmup_steps", "min_lr", "decay_fraction")
        if key in train
    }
    return RunConfig.model_validate(
        {"data": {"train": "a"}, "train": {"time_budget": budget, **train}, "optim": {"lr": 1.0, **optim}}
    )


class Run:
    """The loop's part, without a model. `step`, `evaluation` and `save` give seconds: numbers, or functions of time."""

    def __init__(self, config, step, *, start=5.0, evaluation=2.0, save=0.5, guess=None, state=None):
        self.config, self.now = config, start
        self.takes = {
            name: value if callable(value) else lambda _now, value=value: value
            for name, value in (("step", step), ("evaluation", evaluation), ("save", save))
        }
        self.guess = guess
        self.timer = StepTimer(lambda: self.now)
        self.progress = BudgetProgress(config, self.timer, lambda: self.now, is_main=True)
        self.number, self.lrs, self.shares, self.of, self.saved, self.evaluated = 0, [], [], [], [], []
        if state is not None:
            self.number = state["step"]
            self.progress.restore(state)

    def _spend(self, what):
        self.now += self.takes[what](self.now)

    def _expected(self, _engine, _clock):
        return self.takes["evaluation"](self.now) if self.guess is None else self.guess

    def prepare(self):
        self.validation = SimpleNamespace(
            is_wanted=True, is_left_out=False, train=self.config.train, expected_seconds=self._expected
        )
        engine = SimpleNamespace(ranks=SimpleNamespace(broadcast=lambda said: said))
        steps = self.progress.prepare(self.number, engine, self.validation, SimpleNamespace(needed=200e6))
        reports = []
        while True:
            try:
                reports.append(next(steps))
            except StopIteration as stopped:
                return reports, stopped.value

    def finish(self, until=float("inf")):
        self.reports, may_go_on = self.prepare()
        train = self.config.train
        while may_go_on and not self.progress.is_over(self.number) and self.now < until:
            self.number += 1
            broadcast = self.progress.begin_step(self.number)
            self._spend("step")
            self.lrs.append(self.progress.take_step(self.number, broadcast.progress))
            self.shares.append(broadcast.progress)
            self.of.append(self.progress.total_steps)
            is_last = self.progress.is_over(self.number)
            if not is_last and not broadcast.may_pause:
                continue
            if is_last or self.number % train.save_every == 0:
                self.state = {"step": self.number, **self.progress.state()}
                with self.timer.pause("save"):
                    self._spend("save")
                self.saved.append(self.number)
            if not self.validation.is_left_out and (is_last or self.number % train.eval_every == 0):
                with self.timer.pause("evaluation"):
                    self._spend("evaluation")
                    latest = train.time_budget * (1 + TOLERANCE)  # it is broken off then
                    self.now = min(self.now, latest)
                self.evaluated.append(self.number)
        return self

    @property
    def ended_at(self):
        return self.now + ENDING


def check(run, budget, min_lr=0.1):
    """On time, saved and evaluated at the end, a learning rate that goes up, down to its end, and never jumps."""
    assert budget * 0.98 <= run.ended_at <= budget * 1.02
    assert run.saved[-1] == run.evaluated[-1] == run.number == run.of[-1]
    assert run.shares == sorted(run.shares)
    assert run.shares[-1] == 1
    top = run.lrs.index(max(run.lrs))
    assert run.lrs[: top + 1] == sorted(run.lrs[: top + 1])
    assert run.lrs[top:] == sorted(run.lrs[top:], reverse=True)
    assert run.lrs[top] == pytest.approx(1.0, abs=0.01)
    assert run.lrs[-1] == pytest.approx(min_lr)
    assert max(a - b for a, b in itertools.pairwise(run.lrs[top:])) < 0.05


@pytest.mark.parametrize("schedule", ["cosine", "wsd"])
@pytest.mark.parametrize(
    "train", [{}, {"warmup_steps": 0}, {"warmup_steps": 25}, {"eval_every": 40, "save_every": 30}]
)
def test_at_a_constant_speed(schedule, train):
    run = Run(config_of(300, schedule=schedule, decay_fraction=0.5, **train), step=0.5).finish()
    check(run, 300)
    assert run.of[20] == pytest.approx(run.number, rel=0.05)  # known soon


def test_at_a_constant_speed_the_learning_rate_is_that_of_so_many_steps():
    run = Run(config_of(600, warmup_steps=50), step=0.5).finish()
    planned = config_of(None, max_steps=run.number, warmup_steps=50).optim
    expected = [learning_rate(step, planned, run.number) for step in range(1, run.number + 1)]
    assert run.lrs == pytest.approx(expected, abs=0.01)


def test_a_logger_that_sends_the_rest_has_the_time_for_it():
    runs = [Run(config_of(300, wandb=wandb), step=0.5).finish() for wandb in (None, "fables")]
    assert runs[0].now - runs[1].now == pytest.approx(WANDB_SECONDS, abs=0.5)


@pytest.mark.parametrize("factor", [2, 0.5, 5])
@pytest.mark.parametrize("at", [60, 150, 250, 280])
def test_when_the_speed_changes_on_the_way(factor, at):
    """Evaluations, too, take longer then."""
    slow = {
        what: (lambda now, s=s: s * (factor if now > at else 1))
        for what, s in (("step", 0.5), ("evaluation", 2.0))
    }
    run = Run(config_of(300, eval_every=60, save_every=60), **slow).finish()
    assert 300 * 0.98 <= run.ended_at <= 300 * 1.02
    assert run.lrs[-1] == pytest.approx(0.1)
    top = run.lrs.index(max(run.lrs))
    assert run.lrs[top:] == sorted(run.lrs[top:], reverse=True)
    jumps = [a - b for a, b in itertools.pairwise(run.lrs[top:])]
    assert max(jumps) < 0.05


def test_when_the_machine_stands_still_now_and_then():
    ticks = itertools.count(1)
    run = Run(config_of(300), step=lambda _now: 4.0 if next(ticks) % 97 == 0 else 0.3).finish()
    check(run, 300)


def test_with_slow_evaluations_and_slow_saves():
    check(Run(config_of(300, eval_every=100), step=0.3, evaluation=20.0, save=0.1).finish(), 300)
    check(Run(config_of(300, eval_every=10**6, save_every=100), step=0.3, save=15.0).finish(), 300)


def test_an_evaluation_due_shortly_before_the_end_is_left_to_the_end():
    for eval_every in range(380, 445, 5):
        run = Run(config_of(240, eval_every=eval_every), step=0.5, evaluation=15.0).finish()
        check(run, 240)
        assert run.evaluated == [run.number]


def test_a_slow_first_step_is_no_measure():
    ticks = itertools.count()
    run = Run(config_of(300), step=lambda _now: 40.0 if next(ticks) == 0 else 0.25).finish()
    check(run, 300)
    assert run.number > 900
    assert run.lrs[1] < 0.1


def test_steps_as_long_as_a_part_of_the_budget_end_before_it():
    run = Run(config_of(100), step=9.0).finish()
    assert 100 - 9 - 0.5 <= run.ended_at <= 100
    assert run.lrs[-1] == pytest.approx(0.1)


@pytest.mark.parametrize("warmup_steps", [1000, 400])
def test_a_warm_up_that_is_too_long_for_the_run_takes_a_quarter_of_it(warmup_steps):
    run = Run(config_of(300, warmup_steps=warmup_steps), step=0.5).finish()
    check(run, 300)
    assert run.lrs.index(max(run.lrs)) == pytest.approx(run.number / 4, abs=5)


@pytest.mark.parametrize("max_steps", [50, 400])
def test_so_many_steps_or_the_time_whichever_comes_first(max_steps):
    run = Run(config_of(300, max_steps=max_steps), step=0.5).finish()
    assert run.number == max_steps
    assert run.lrs[-1] == pytest.approx(0.1)
    assert run.of[10] == max_steps
    assert run.shares[max_steps // 2 - 1] == pytest.approx(0.5, abs=0.05)
    assert run.progress.seconds_left() is None
    by_clock = Run(config_of(300, max_steps=10_000), step=0.5).finish()
    check(by_clock, 300)
    assert by_clock.progress.seconds_left() == pytest.approx(ENDING, abs=1)


def test_a_budget_shorter_than_the_start_gives_one_step_and_says_so():
    run = Run(config_of(3), step=0.5).finish()
    assert (run.number, run.saved, run.shares, run.lrs) == (1, [1], [1.0], [pytest.approx(0.1)])
    assert [(r.what, r.step) for r in run.reports if isinstance(r, OutOfTimeReport)][-1] == ("steps", 0)
    assert has_ended(run.config, run.state)


def test_an_evaluation_that_would_take_most_of_the_budget_is_left_out_and_that_is_said():
    run = Run(config_of(300), step=0.5, evaluation=150.0).finish()
    assert run.evaluated == []
    assert 300 * 0.98 <= run.ended_at <= 300
    assert [(r.what, r.needed) for r in run.reports] == [("evaluations", 150.0)]


@pytest.mark.parametrize("stop_at", [20, 150, 270])
def test_a_resumed_run_has_the_rest_of_the_time(stop_at):
    """Its own start counts, the time between does not, and the learning rate goes on from where it was."""
    config = config_of(300, save_every=1, eval_every=50)
    first = Run(config, step=0.5, save=0.0).finish(until=stop_at)
    assert not has_ended(config, first.state)
    second = Run(config, step=0.5, save=0.0, state=first.state, start=7.0).finish()
    assert 300 * 0.98 <= first.now + second.ended_at <= 300 * 1.02
    lrs = first.lrs + second.lrs
    top = lrs.index(max(lrs))
    assert lrs[top:] == sorted(lrs[top:], reverse=True)
    assert lrs[-1] == pytest.approx(0.1)
    assert max(abs(a - b) for a, b in itertools.pairwise(lrs)) < 0.05


def test_a_run_resumed_without_time_for_a_step_ends():
    config = config_of(300, save_every=1)
    first = Run(config, step=0.5, save=0.0).finish(until=296)
    second = Run(config, step=0.5, state=first.state, start=10.0).finish()
    assert (second.saved, second.number) == ([], first.state["step"])
    assert [(r.what, r.step) for r in second.reports] == [("steps", second.number)]


def test_more_time_than_before_goes_on_from_the_same_learning_rate():
    first = Run(config_of(300, save_every=1), step=0.5, save=0.0).finish(until=200)
    second = Run(config_of(600, save_every=1), step=0.5, save=0.0, state=first.state).finish()
    assert 600 * 0.98 <= first.now + second.ended_at <= 600 * 1.02
    assert second.lrs[0] == pytest.approx(first.lrs[-1], abs=0.01)
    assert second.lrs[-1] == pytest.approx(0.1)


def test_other_ranks_say_nothing():
    progress = BudgetProgress(config_of(300), StepTimer(lambda: 1e9), lambda: 1e9, is_main=False)
    assert progress.begin_step(1) == (0.0, True)
    assert not progress.is_past_deadline()


@pytest.mark.parametrize("every", [40, 10**6])
def test_the_plan_before_a_run_is_what_the_run_does(every):
    run = Run(config_of(300, eval_every=every, save_every=30), step=0.5, save=1.0).finish()
    pauses = {"save": Pause(30, True, 1.0), "evaluation": Pause(every, True, 2.0)}
    assert abs(planned_steps(300, 5.0, 0.5, pauses) - run.number) <= 2
    assert planned_steps(3, 5.0, 0.5, pauses) == 1
