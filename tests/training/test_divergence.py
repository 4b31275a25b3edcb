"""Divergence: noticed before the update, gone back from, its data left out, the same after a resume."""

import dataclasses
import math

import pytest
import torch

from bittygpt.training.checkpoints.checkpoint_folder import list_checkpoints, newest_good
from bittygpt.training.divergence import MOST_REWINDS, NATS, WINDOW, DivergenceGuard
from bittygpt.training.step import StepResult


def weights(trainer):
    return {name: p.clone() for name, p in trainer.model.state_dict().items()}


def numbers(reports):
    return [(r.step, r.loss, r.grad_norm, r.lr, r.batch_hash) for r in reports.StepReport]


def plant(trainer, is_bad, loss=math.nan):
    """Let the steps for whose batch number and weights `is_bad` say so have that loss; gives the batches seen."""
    gradients, seen = trainer.executor.gradients, []

    def planted(batch, *others):
        number = next(n for n in range(1, 400) if torch.equal(trainer.batches.batch(n).ids, batch.ids))
        seen.append(number)
        result = gradients(batch, *others)
        return dataclasses.replace(result, loss=loss) if is_bad(number) else result

    trainer.executor.gradients = planted
    return seen


def guard_after(losses):
    guard = DivergenceGuard()
    guard.losses.extend(losses)
    return guard


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_what_is_not_finite_is_a_fault(bad):
    assert "loss is" in DivergenceGuard().fault(StepResult(bad, 1.0))
    assert "gradient norm" in DivergenceGuard().fault(StepResult(1.0, bad))


def test_a_spike_is_a_fault_and_noise_is_none():
    noise = [3 + 0.05 * math.sin(7 * n) for n in range(WINDOW)]
    guard = guard_after(noise)
    assert guard.fault(StepResult(3.0 + 0.9 * NATS, 50.0)) is None
    assert "in the 64 steps before" in guard.fault(StepResult(3.1 + NATS, 1.0))
    assert guard_after(noise[1:]).fault(StepResult(30.0, 1.0)) is None, "too few to compare with"
    wild = [3 + 2 * math.sin(7 * n) for n in range(WINDOW)]
    assert guard_after(wild).fault(StepResult(8.0, 1.0)) is None


def test_batches_left_out_are_passed_over(make_trainer):
    guard, batch = DivergenceGuard(), make_trainer().batches.batch(1)
    leave_out = lambda at, to, number: guard.leave_out(at, to, number, StepResult(1, 1), "", batch, "")  # noqa: E731
    leave_out(5, 4, 5)
    assert [guard.batch_number(step) for step in (4, 5, 6)] == [4, 6, 7]
    leave_out(5, 2, 6)  # other data diverged at the same step: back to 2, and all from 3 on is left out
    assert [guard.batch_number(step) for step in (2, 3, 4)] == [2, 7, 8]
    leave_out(10, 9, guard.batch_number(10))
    assert [guard.batch_number(step) for step in (9, 10, 11)] == [13, 15, 16]


@pytest.mark.parametrize("loss", [math.nan, 40.0])
def test_a_bad_batch_is_left_out_and_the_run_ends_well(make_trainer, finish, loss):
    bad = 7 if math.isnan(loss) else WINDOW + 7
    steps = f"train.max_steps={bad + 3}"
    trainer = make_trainer(steps)
    seen = plant(trainer, lambda number: number == bad, loss)
    reports = finish(trainer)
    rewind = reports.RewindReport[0].rewind
    assert (rewind.at, rewind.to, rewind.first, rewind.last) == (bad, bad - 1, bad, bad)
    assert rewind.loss == (None if math.isnan(loss) else loss)
    assert rewind.text == trainer.tokenizer.decode(trainer.batches.batch(bad).ids[0].tolist())
    assert seen == list(range(1, bad + 5))
    assert [r.step for r in reports.StepReport] == list(range(1, bad + 4))
    assert all(p.isfinite().all() for p in trainer.model.parameters())


def test_weights_that_diverge_on_any_data_are_replaced_by_the_checkpoint(make_trainer, finish):
    trainer = make_trainer("train.save_every=5", "train.max_steps=16")
    seen = plant(trainer, lambda number: number in (9, 10))
    reports = finish(trainer)
    first, second = (r.rewind for r in reports.RewindReport)
    assert (first.at, first.to, first.first, first.last) == (9, 8, 9, 9)
    assert (second.at, second.to, second.first, second.last) == (9, 5, 6, 10)
    assert seen == [*range(1, 11), *range(11, 22)]
    assert [r.step for r in reports.StepReport] == [*range(1, 9), *range(6, 17)]


def test_a_checkpoint_from_which_any_data_diverges_is_set_aside(make_trainer, finish):
    trainer = make_trainer("train.save_every=2", "train.max_steps=8", "train.keep=5")
    plant(trainer, lambda number: number in (5, 6))
    second = finish(trainer).RewindReport[1].rewind
    assert (second.at, second.to, second.first) == (5, 2, 3)
    assert (trainer.saver.folder / "diverged-step-00000004").is_dir()
    assert [step for step, _ in list_checkpoints(trainer.saver.folder)] == [8, 6, 4, 2]


def test_without_a_checkpoint_it_goes_back_to_the_start(make_trainer, finish):
    trainer = make_trainer("train.save_every=100")
    at_start = weights(trainer)
    plant(trainer, lambda number: number in (4, 5))
    seen = []
    for report in trainer.run(lambda: False, {}):
        if type(report).__name__ == "RewindReport":
            seen.append(
                (report.rewind.to, all(torch.equal(p, at_start[n]) for n, p in weights(trainer).items()))
            )
    assert seen == [(3, False), (0, True)]
    expected = make_trainer("train.save_every=100", folder="other")
    expected.guard.rewinds = trainer.guard.rewinds  # as if the batches had never been there
    finish(expected)
    assert all(torch.equal(p, weights(expected)[name]) for name, p in weights(trainer).items())


@pytest.mark.parametrize("stop_after", [5, 8, 9, 12])
def test_a_resumed_run_leaves_out_the_same(make_trainer, finish, stop_after):
    settings = ("train.max_steps=16", "train.save_every=4", "train.keep=4")
    is_bad = lambda number: number in (7, 10, 11)  # noqa: E731
    whole = make_trainer(*settings, folder="whole")
    plant(whole, is_bad)
    expected = finish(whole)
    cut = make_trainer(*settings, folder="cut")
    plant(cut, is_bad)
    finish(cut, stop_after=stop_after)
    resumed = make_trainer(*settings, folder="cut")
    resumed.resume(newest_good(resumed.saver.folder, pytest.fail))
    plant(resumed, is_bad)
    after = numbers(finish(resumed))
    assert numbers(expected)[-len(after) :] == after
    assert resumed.guard.rewinds == whole.guard.rewinds
    assert all(torch.equal(p, weights(whole)[name]) for name, p in weights(resumed).items())


def test_a_run_that_diverges_for_ever_stops(make_trainer, finish):
    trainer = make_trainer("train.save_every=2")
    before = weights(trainer)
    plant(trainer, lambda number: number > 3)
    reports = finish(trainer)
    assert len(reports.RewindReport) == MOST_REWINDS
    assert "loss is nan" in reports.DivergedReport[0].reason
    assert newest_good(trainer.saver.folder, pytest.fail).name == "step-00000002"
    assert any(not torch.equal(p, before[name]) for name, p in weights(trainer).items())


@pytest.mark.parametrize("step", [4, 8])
def test_weights_that_only_the_validation_finds_ruined_end_the_run(make_trainer, finish, monkeypatch, step):
    trainer = make_trainer()
    validate = trainer.validation.run

    def run(*others):
        result = validate(*others)
        return dataclasses.replace(result, loss=math.nan) if trainer.step == step else result

    monkeypatch.setattr(trainer.validation, "run", run)
    reports = finish(trainer)
    (diverged,) = reports.DivergedReport
    assert (diverged.step, diverged.reason) == (step, "the validation loss is nan")
    assert step not in trainer.val_losses
    assert all(math.isfinite(report.val_loss) for report in getattr(reports, "EvalReport", []))
    assert next(n for n, _ in list_checkpoints(trainer.saver.folder)) == step - 2
    assert (trainer.saver.folder / f"diverged-step-{step:08d}").is_dir()


def test_rewinds_of_long_ago_do_not_count(make_trainer):
    guard, batch = DivergenceGuard(), make_trainer().batches.batch(1)
    for at in (10, 20, 30):
        guard.leave_out(at, at - 1, at, StepResult(1, 1), "", batch, "")
    assert not guard.may_rewind(1009)
    assert guard.may_rewind(1010)
