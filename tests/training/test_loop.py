"""The loop: a resumed run is the run that never stopped, bit for bit; what is reported, saved and kept."""

import itertools
import math
from types import SimpleNamespace

import pytest
import torch

from bittygpt.core import IGNORE_INDEX
from bittygpt.errors import OutOfMemoryError
from bittygpt.training.checkpoints.checkpoint_folder import list_checkpoints, newest_good
from bittygpt.training.evaluation import Evaluation
from bittygpt.training.events import EvalReport, InterruptedReport, SavedReport, StepReport


def numbers(reports):
    return [(r.step, r.loss, r.grad_norm, r.lr, r.batch_hash) for r in reports.StepReport]


def weights(trainer):
    return {name: p.clone() for name, p in trainer.model.state_dict().items()}


@pytest.mark.parametrize("name", ["adamw", "adam", "sgd", "muon"])
@pytest.mark.parametrize("stop_after", [0, 3, 4])
def test_a_resumed_run_is_the_run_that_never_stopped(make_trainer, finish, name, stop_after):
    whole = make_trainer(f"optim.name={name}", folder="whole")
    expected = finish(whole)
    first = make_trainer(f"optim.name={name}", folder="cut")
    before = finish(first, stop_after=stop_after)
    assert before.InterruptedReport[0].step in (stop_after, stop_after + 1)
    second = make_trainer(f"optim.name={name}", folder="cut")
    second.resume(newest_good(second.saver.folder, pytest.fail))
    after = finish(second)
    both = (numbers(before) if stop_after else []) + numbers(after)
    assert both == numbers(expected)
    assert all(torch.equal(p, weights(whole)[name]) for name, p in weights(second).items())
    assert after.EvalReport[-1].val_loss == expected.EvalReport[-1].val_loss


@pytest.mark.parametrize("polls", range(22))
def test_a_stop_at_any_moment_saves_the_step_in_hand_and_changes_nothing(make_trainer, finish, polls):
    """Whether it comes before a step or in an evaluation: the checkpoint is of the last step that was logged."""
    expected = finish(make_trainer(folder="whole"))
    first, count = make_trainer(folder="cut"), itertools.count()
    before = list(first.run(lambda: next(count) >= polls, {}))
    assert isinstance(before[-1], InterruptedReport)
    assert newest_good(first.saver.folder, pytest.fail).name == f"step-{before[-1].step:08d}"
    steps = [r for r in before if isinstance(r, StepReport)]
    assert [r.step for r in steps] == list(range(1, before[-1].step + 1))
    evals = {r.step: r.val_loss for r in before if isinstance(r, EvalReport)}
    second = make_trainer(folder="cut")
    second.resume(newest_good(second.saver.folder, pytest.fail))
    after = finish(second, val_losses=evals)
    steps += getattr(after, "StepReport", [])
    evals.update({r.step: r.val_loss for r in after.EvalReport})
    assert numbers(SimpleNamespace(StepReport=steps)) == numbers(expected)
    assert evals == {r.step: r.val_loss for r in expected.EvalReport}


def test_windows_that_begin_with_documents_train_and_evaluate(make_trainer, finish):
    """Documents end with token 0; the text of these trainers has none, so one is set in: at 7, 14, 21, …"""
    stream = finish(make_trainer(folder="stream"))
    trainer = make_trainer("data.windows=documents", folder="documents", document_of=7)
    batch = trainer.batches.batch(1)
    num_targets = (batch.targets != IGNORE_INDEX).sum(1)
    assert torch.equal(num_targets, torch.where(batch.ids[:, 0] == 0, 14, 13))
    documents = finish(trainer)
    assert trainer.validation.run(trainer.executor).num_tokens == 300
    assert documents.EvalReport[-1].val_loss != stream.EvalReport[-1].val_loss


def test_reports_come_in_order_with_a_checkpoint_before_each_evaluation(make_trainer):
    trainer = make_trainer("train.log_every=3")
    reports = list(trainer.run(lambda: False, {}))
    order = [(type(r), r.step) for r in reports]
    steps = [step for kind, step in order if kind is StepReport]
    assert steps == [1, 3, 6, 8]
    assert [step for kind, step in order if kind is EvalReport] == [4, 8]
    assert [step for kind, step in order if kind is SavedReport] == [2, 4, 6, 8]
    assert order.index((SavedReport, 4)) < order.index((EvalReport, 4))
    assert reports[0].tokens == 64


def test_an_evaluation_that_a_crash_cut_off_is_made_up_for(make_trainer, finish):
    expected = finish(make_trainer(folder="whole"))
    trainer = make_trainer(folder="cut")
    for report in trainer.run(lambda: False, {}):
        if isinstance(report, SavedReport) and report.step == 4:
            break
    resumed = make_trainer(folder="cut")
    resumed.resume(newest_good(resumed.saver.folder, pytest.fail))
    evaluations = [(r.step, r.val_loss) for r in finish(resumed).EvalReport]
    assert evaluations == [(r.step, r.val_loss) for r in expected.EvalReport]


def test_newest_and_best_checkpoints_stay(make_trainer, finish, monkeypatch):
    trainer = make_trainer("train.keep=2", "train.eval_every=2")
    monkeypatch.setattr(trainer.validation, "run", lambda *_: Evaluation(abs(trainer.step - 2), 1.0, 1))
    finish(trainer)
    assert [step for step, _ in list_checkpoints(trainer.saver.folder)] == [8, 6, 2]


def test_divergence_is_reported_and_the_weights_are_left(make_trainer, finish):
    trainer = make_trainer()
    trainer.model.lm_head.weight.data[0, 0] = math.nan
    reports = finish(trainer)
    assert reports.DivergedReport[0].step == 1
    assert not hasattr(reports, "StepReport")


def test_evaluation_is_the_mean_over_all_validation_tokens(make_trainer):
    trainer = make_trainer()
    result = trainer.validation.run(trainer.executor)
    tokens = torch.from_numpy(trainer.validation.tokens.read(0, 300))
    total = 0.0
    for start in range(0, 299, 16):
        window = tokens[start : start + 17]
        logits = trainer.model(window[None, :-1])[0]
        total += torch.nn.functional.cross_entropy(logits, window[1:], reduction="sum").item()
    assert result.num_tokens == 299
    assert result.loss == pytest.approx(total / 299, rel=1e-5)
    assert result.bits_per_byte == pytest.approx(
        total / 299 / math.log(2), rel=1e-5
    )  # a token is a byte here


def test_micro_batch_size_of_an_auto_run_is_kept_when_it_resumes(make_trainer, finish):
    first = make_trainer()
    first.executor.micro_batch_size = 2
    finish(first, stop_after=1)
    second = make_trainer()
    assert second.executor.micro_batch_size == 4
    second.resume(newest_good(second.saver.folder, pytest.fail))
    assert second.executor.micro_batch_size == 2


def test_after_the_last_evaluation_no_checkpoint_too_many_stays(make_trainer, finish, monkeypatch):
    trainer = make_trainer("train.keep=1", "train.eval_every=2")
    monkeypatch.setattr(trainer.validation, "run", lambda *_: Evaluation(1 / trainer.step, 1.0, 1))
    finish(trainer)
    assert [step for step, _ in list_checkpoints(trainer.saver.folder)] == [8]


def test_out_of_memory_in_an_evaluation_is_told_like_one_in_a_step(make_trainer, finish, monkeypatch):
    trainer = make_trainer()
    error = RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 1 bytes")
    monkeypatch.setattr(trainer.validation, "run", lambda *_: (_ for _ in ()).throw(error))
    with pytest.raises(OutOfMemoryError, match=r"train\.micro_batch_size below 4"):
        finish(trainer)


def test_bits_per_byte_of_special_tokens_alone_is_null(make_trainer):
    trainer = make_trainer()
    trainer.validation.token_bytes = torch.zeros_like(trainer.validation.token_bytes)
    assert trainer.validation.run(trainer.executor).bits_per_byte is None
