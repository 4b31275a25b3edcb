"""The loop with a time budget, on a clock that steps and evaluations move: stops, rewinds, ranks, late evaluations."""

import dataclasses
import math

import pytest
import torch

from bittygpt.training.checkpoints.checkpoint import read_state
from bittygpt.training.checkpoints.checkpoint_folder import newest_good
from bittygpt.training.distributed.ranks import Ranks
from bittygpt.training.step import Broadcast
from bittygpt.training.timing.progress import has_ended
from bittygpt.training.timing.time_budget import DRAWING_SECONDS, SHUTDOWN_SECONDS

BUDGET = 60
ENDING = DRAWING_SECONDS + SHUTDOWN_SECONDS
ON_TIME = (
    f"train.time_budget={BUDGET}",
    *("train.max_steps=null", "train.eval_every=40", "train.save_every=20", "optim.warmup_steps=null"),
)


class Ticking:
    """A clock that moves by half a second with each step, and by two with an evaluation."""

    def __init__(self, now=3.0):
        self.now, self.step, self.evaluation = now, 0.5, 2.0

    def __call__(self):
        return self.now


@pytest.fixture
def on_time(make_trainer, monkeypatch):
    """A function that makes a trainer with its clock: `trainer.timer.clock`."""

    def make(*overrides, clock=None, **options):
        clock = clock or Ticking()
        trainer = make_trainer(*ON_TIME, *overrides, clock=clock, **options)
        gradients, evaluate = trainer.executor.gradients, trainer.validation._evaluate

        def step(*arguments):
            clock.now += clock.step
            return gradients(*arguments)

        def evaluation(executor, batches, stop_asked=lambda: False):
            is_whole = not isinstance(batches, list)
            clock.now += clock.evaluation if is_whole else 0.1
            return evaluate(executor, batches, stop_asked)

        monkeypatch.setattr(trainer.executor, "gradients", step)
        monkeypatch.setattr(trainer.validation, "_evaluate", evaluation)
        return trainer

    return make


def state_of(trainer):
    return read_state(newest_good(trainer.saver.folder, pytest.fail))


def test_it_ends_on_time_saved_and_evaluated_with_the_learning_rate_at_its_end(on_time, finish):
    trainer = on_time()
    reports = finish(trainer)
    last = reports.StepReport[-1]
    assert 0.98 * BUDGET <= trainer.timer.clock() + ENDING <= BUDGET
    assert last.step == reports.EvalReport[-1].step == reports.SavedReport[-1].step == trainer.total_steps
    assert last.lr == pytest.approx(1e-3)
    assert max(r.lr for r in reports.StepReport) == pytest.approx(1e-2, rel=0.01)
    assert has_ended(trainer.config, state_of(trainer))
    assert state_of(trainer)["time_budget"]["progress"] == 1


@pytest.mark.parametrize("stop_after", [1, 50, 90])
def test_stopped_and_resumed_it_has_the_rest_of_the_time(on_time, finish, stop_after):
    first = on_time()
    before = finish(first, stop_after=stop_after)
    assert before.InterruptedReport
    assert not has_ended(first.config, state_of(first))
    second = on_time(clock=Ticking(now=4.0))
    second.resume(newest_good(second.saver.folder, pytest.fail))
    after = finish(second)
    used = first.timer.clock() + second.timer.clock() + ENDING
    assert 0.98 * BUDGET <= used <= BUDGET * 1.01
    lrs = [r.lr for r in before.StepReport + after.StepReport]
    assert [r.step for r in before.StepReport + after.StepReport] == list(range(1, len(lrs) + 1))
    top = lrs.index(max(lrs))
    assert lrs[top:] == sorted(lrs[top:], reverse=True)
    assert lrs[-1] == pytest.approx(1e-3)


def test_a_last_evaluation_that_was_cut_off_by_a_stop_is_made_up_for(on_time, finish):
    first = on_time()
    is_last = lambda: first.progress.is_over(first.step)  # noqa: E731
    reports = list(first.run(is_last, {}))
    assert type(reports[-1]).__name__ == "InterruptedReport"
    second = on_time(clock=Ticking(now=1.0))
    second.resume(newest_good(second.saver.folder, pytest.fail))
    after = finish(second)
    assert not hasattr(after, "StepReport")
    assert [r.step for r in after.EvalReport] == [first.step]


@pytest.mark.parametrize("every", [40, 10**6])
def test_an_evaluation_that_does_not_end_is_broken_off_and_the_run_is_over(on_time, finish, every):
    """The last one, or one before it: a checkpoint of the last step is there all the same."""
    trainer = on_time(f"train.eval_every={every}", "train.save_every=1000000")
    trainer.validation.expected_seconds = lambda *_: 1.0
    trainer.timer.clock.evaluation = 100.0
    reports = finish(trainer)
    assert [(r.what, r.step) for r in reports.OutOfTimeReport] == [("evaluation", trainer.step)]
    assert (trainer.step == 40) == (every == 40)
    assert not hasattr(reports, "EvalReport")
    assert not hasattr(reports, "InterruptedReport")
    assert [r.step for r in reports.SavedReport] == [trainer.step]


def test_shortly_before_the_end_nothing_is_made_but_what_follows_the_last_step(on_time, finish):
    """An evaluation due then would leave no time for the one at the end."""
    clock = Ticking()
    clock.evaluation = 8.0
    trainer = on_time("train.eval_every=85", "train.save_every=85", clock=clock)
    trainer.validation.expected_seconds = lambda *_: 8.0
    reports = finish(trainer)
    assert trainer.step > 85
    assert [r.step for r in reports.EvalReport] == [r.step for r in reports.SavedReport] == [trainer.step]
    assert 0.98 * BUDGET <= clock.now + ENDING <= BUDGET


def test_a_signal_in_an_evaluation_is_an_interruption_as_ever(on_time):
    trainer = on_time()
    asked = lambda: trainer.timer.clock() > 3 + 40 * 0.5 + 1.5  # noqa: E731
    reports = list(trainer.run(asked, {}))
    assert (type(reports[-1]).__name__, reports[-1].step) == ("InterruptedReport", 40)


def test_a_start_that_took_all_the_time_is_followed_by_one_step(on_time, finish):
    trainer = on_time(clock=Ticking(now=100.0))
    reports = finish(trainer)
    assert [(r.what, r.step) for r in reports.OutOfTimeReport] == [("steps", 0), ("evaluation", 1)]
    assert [r.step for r in reports.SavedReport] == [1]
    assert has_ended(trainer.config, state_of(trainer))


def test_a_start_that_takes_the_rest_of_the_time_is_followed_by_the_last_evaluation(on_time, finish):
    """If there is time for that; the learning rate has not come to its end, and that is said."""
    finish(on_time(), stop_after=50)
    for late, evaluated in ((27.0, True), (40.0, False)):
        second = on_time(clock=Ticking(now=late))
        second.resume(newest_good(second.saver.folder, pytest.fail))
        reports = finish(second)
        assert not hasattr(reports, "StepReport")
        assert reports.OutOfTimeReport[0].what == "steps"
        assert hasattr(reports, "EvalReport") == evaluated
        assert second.total_steps == second.step


def test_a_divergence_costs_time_but_does_not_move_the_end(on_time, finish):
    trainer = on_time()
    gradients, faults = trainer.executor.gradients, [math.nan]

    def planted(batch, *others):
        result = gradients(batch, *others)
        is_bad = trainer.step == 70 and faults
        return dataclasses.replace(result, loss=faults.pop()) if is_bad else result

    trainer.executor.gradients = planted
    reports = finish(trainer)
    assert [r.rewind.at for r in reports.RewindReport] == [71]
    assert 0.98 * BUDGET <= trainer.timer.clock() + ENDING <= BUDGET
    assert reports.StepReport[-1].lr == pytest.approx(1e-3)


def test_the_word_of_rank_0_is_what_all_ranks_hear(on_time, monkeypatch):
    """Another rank adds nothing to it, whatever its own clock says."""
    trainer = on_time()
    batch = trainer.batches.batch(1)
    trainer.executor.start(batch)
    assert trainer.executor.gradients(batch, False, Broadcast(0.25, False)).broadcast == Broadcast(
        0.25, False
    )
    monkeypatch.setattr(Ranks, "sum", lambda _self, numbers: numbers.add_(torch.tensor([0, 0, 0.25, 1.0])))
    trainer.executor.ranks = trainer.ranks = Ranks(rank=1, world_size=1)
    heard = trainer.executor.gradients(batch.rows(0, 4), False, Broadcast(0.75, True))
    assert heard.broadcast == Broadcast(0.25, True)
