"""As much at once as fits: found by trials, made smaller when memory runs out, with the same result."""

import pytest

from bittygpt.errors import OutOfMemoryError
from bittygpt.training import executor as executor_module
from bittygpt.training import step as step_module
from bittygpt.training.devices.device import Device
from bittygpt.training.devices.memory import largest_that_fits, next_smaller
from bittygpt.training.distributed.ranks import Ranks

OUT_OF_MEMORY = RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 1 bytes")


class SmallMemory:
    """Passes of more than `fits` sequences run out of memory."""

    def __init__(self, monkeypatch, fits):
        self.fits, self.sizes = fits, []
        for module in (step_module, executor_module):
            original = module.micro_batch_loss
            monkeypatch.setattr(module, "micro_batch_loss", lambda *a, f=original: self.guarded(f, *a))

    def guarded(self, function, model, micro, device):
        self.sizes.append(len(micro.ids))
        if len(micro.ids) > self.fits:
            raise OUT_OF_MEMORY
        return function(model, micro, device)


def test_a_step_that_does_not_fit_is_done_again_in_halves(make_trainer, finish, monkeypatch):
    expected = finish(make_trainer(folder="expected"))
    memory = SmallMemory(monkeypatch, fits=1)
    trainer = make_trainer()
    reports = finish(trainer)
    assert memory.sizes[:7] == [4, 2, 1, 1, 1, 1, 1]
    assert trainer.executor.micro_batch_size == 1
    assert [(r.step, r.micro_batch_size) for r in reports.SmallerMicroBatchReport] == [(1, 1)]
    assert [r.batch_hash for r in reports.StepReport] == [r.batch_hash for r in expected.StepReport]
    losses = [r.loss for r in reports.StepReport]
    assert losses == pytest.approx([r.loss for r in expected.StepReport], abs=1e-5)


def test_a_size_that_was_set_is_kept_and_the_error_says_what_to_change(make_trainer, finish, monkeypatch):
    SmallMemory(monkeypatch, fits=1)
    with pytest.raises(OutOfMemoryError, match=r"logits 0\.00 GB; set train\.micro_batch_size below 2"):
        finish(make_trainer("train.micro_batch_size=2"))


def test_one_sequence_that_does_not_fit_is_the_end(make_trainer, finish, monkeypatch):
    SmallMemory(monkeypatch, fits=0)
    with pytest.raises(OutOfMemoryError, match=r"make model\.context_length, model\.d_model"):
        finish(make_trainer())


def test_several_ranks_do_not_halve_alone(make_trainer, monkeypatch):
    SmallMemory(monkeypatch, fits=1)
    trainer = make_trainer()
    trainer.executor.ranks = Ranks(0, 2)
    with pytest.raises(OutOfMemoryError):
        trainer.executor.gradients(trainer.batches.batch(1), stop_asked=False)


def test_where_memory_is_refused_the_size_is_tried_and_the_weights_are_left(
    make_trainer, finish, monkeypatch
):
    monkeypatch.setattr(Device, "refuses_memory", True)
    expected = finish(make_trainer("train.micro_batch_size=2", folder="expected"))
    memory = SmallMemory(monkeypatch, fits=2)
    trainer = make_trainer("train.max_steps=8")
    reports = finish(trainer)
    assert memory.sizes[:6] == [4, 2, 2, 2, 2, 2], "two trials, then two micro-batches a step"
    assert not hasattr(reports, "SmallerMicroBatchReport")
    assert [r.loss for r in reports.StepReport] == [r.loss for r in expected.StepReport]


def test_all_ranks_take_a_size_that_fits_all():
    said = iter([False, True])
    assert largest_that_fits([8, 4, 2, 1], lambda _: None, lambda fits: fits and next(said)) == 4


def test_an_error_that_is_not_of_memory_is_no_trial():
    def broken(_):
        raise RuntimeError("shapes differ")

    with pytest.raises(RuntimeError, match="shapes differ"):
        largest_that_fits([2, 1], broken, bool)


def test_the_next_smaller_size_divides():
    assert [next_smaller(size, 12) for size in (12, 6, 4, 3, 2, 1)] == [6, 3, 2, 1, 1, None]


def test_an_evaluation_that_does_not_fit_is_done_in_halves(make_trainer, monkeypatch):
    trainer = make_trainer()
    expected = trainer.validation.run(trainer.executor)
    forward, sizes = trainer.model.forward, []

    def guarded(ids, **kinds):
        sizes.append(len(ids))
        if len(ids) > 3:
            raise OUT_OF_MEMORY
        return forward(ids, **kinds)

    monkeypatch.setattr(trainer.model, "forward", guarded)
    result = trainer.validation.run(trainer.executor)
    assert sizes[:4] == [8, 4, 2, 2]
    assert result.loss == pytest.approx(expected.loss, rel=1e-6)
    assert result.num_tokens == expected.num_tokens


def test_frozen_weights_have_neither_gradient_nor_moments(make_trainer, finish):
    trainer = make_trainer()
    for name, parameter in trainer.model.named_parameters():
        parameter.requires_grad_(".ffn." in name)
    trainer.executor.optimizers = executor_module.build_optimizers(trainer.model, trainer.config.optim)
    trainer.saver.executor = trainer.executor
    finish(trainer)
    moved = {p for optimizer in trainer.executor.optimizers for p in optimizer.state}
    assert moved == {p for p in trainer.model.parameters() if p.requires_grad}
    assert all(p.grad is None for p in trainer.model.parameters() if not p.requires_grad)
