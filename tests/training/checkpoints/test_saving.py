"""A disk that fills: told before the checkpoint is due, no room lost, the last good checkpoint left."""

import errno
from types import SimpleNamespace

import pytest
from safetensors import SafetensorError

from bittygpt.errors import DiskFullError
from bittygpt.files import is_disk_full
from bittygpt.training.checkpoints import saving
from bittygpt.training.checkpoints.checkpoint_folder import find_fault, list_checkpoints, newest_good
from bittygpt.training.checkpoints.saving import checkpoint_bytes, free_bytes
from bittygpt.training.events import LowSpaceReport, SavedReport, StepReport


@pytest.fixture
def disk(monkeypatch):
    """What is free: `disk.free`; writing a checkpoint fails when it is less than one takes."""
    state = SimpleNamespace(free=10**12)
    save = saving.save_checkpoint

    def save_if_room(folder, step, model, optimizers, *rest):
        if state.free < checkpoint_bytes(model, 2):
            raise OSError(errno.ENOSPC, "No space left on device")
        return save(folder, step, model, optimizers, *rest)

    monkeypatch.setattr(saving, "free_bytes", lambda _: state.free)
    monkeypatch.setattr(saving, "save_checkpoint", save_if_room)
    monkeypatch.setattr(saving, "LOOK_EVERY", 0.0)
    return state


def test_the_estimate_is_a_checkpoints_size(make_trainer, finish):
    for name in ("adamw", "muon", "sgd"):
        trainer = make_trainer(f"optim.name={name}", folder=name)
        finish(trainer)
        checkpoint = newest_good(trainer.saver.folder, pytest.fail)
        tensors = sum(file.stat().st_size for file in checkpoint.glob("*.safetensors"))
        assert tensors < trainer.saver.needed < tensors + 2_100_000


def test_free_space_of_a_folder_that_is_yet_to_be_made(tmp_path):
    assert free_bytes(tmp_path / "a/b") > 0


def test_a_run_whose_first_checkpoint_finds_no_room_is_refused(make_trainer, finish, disk):
    disk.free = 1000
    with pytest.raises(DiskFullError, match=r"a checkpoint takes \d+ MB and 0 MB are free; make room"):
        finish(make_trainer())


def test_little_room_is_told_once_before_the_checkpoint_is_due(make_trainer, disk):
    trainer, told = make_trainer("train.save_every=4"), []
    for report in trainer.run(lambda: False, {}):
        if isinstance(report, StepReport) and report.step == 1:
            disk.free = trainer.saver.needed - 1
        if isinstance(report, StepReport) and report.step == 3:
            disk.free = 10**12
        if isinstance(report, LowSpaceReport):
            told.append((trainer.step, report.step, report.due, report.free))
    assert told == [(1, 1, 4, trainer.saver.needed - 1)]
    assert [step for step, _ in list_checkpoints(trainer.saver.folder)] == [8, 4]


def test_a_checkpoint_without_room_is_left_out_and_the_run_goes_on(make_trainer, disk):
    trainer, order = make_trainer(), []
    for report in trainer.run(lambda: False, {}):
        if isinstance(report, StepReport) and report.step in (3, 5):
            disk.free = 1000 if report.step == 3 else 10**12
        if isinstance(report, SavedReport) or (isinstance(report, LowSpaceReport) and report.due is None):
            order.append((type(report).__name__, report.step))
    assert order == [("SavedReport", 2), ("LowSpaceReport", 4), ("SavedReport", 6), ("SavedReport", 8)]


def test_the_last_checkpoint_cannot_wait(make_trainer, finish, disk):
    trainer = make_trainer()
    reports = trainer.run(lambda: False, {})
    while not isinstance(report := next(reports), StepReport) or report.step < 7:
        pass
    disk.free = 1000
    with pytest.raises(DiskFullError, match=r"the checkpoint of step 8 could not be written"):
        list(reports)
    assert [path.name for _, path in list_checkpoints(trainer.saver.folder)] == [
        "step-00000006",
        "step-00000004",
    ]
    disk.free = 10**12
    again = make_trainer()
    again.resume(newest_good(again.saver.folder, pytest.fail))
    assert [r.step for r in finish(again).StepReport] == [7, 8]


@pytest.mark.usefixtures("disk")
def test_for_want_of_room_the_oldest_goes_before_and_not_after(make_trainer, monkeypatch):
    trainer, seen = make_trainer("train.keep=3"), {}
    write = trainer.saver._write

    def look(step, *rest):
        save = saving.save_checkpoint
        monkeypatch.setattr(
            saving,
            "save_checkpoint",
            lambda *a: (
                seen.update({step: [s for s, _ in list_checkpoints(trainer.saver.folder)]}),
                save(*a),
            )[1],
        )
        return write(step, *rest)

    monkeypatch.setattr(trainer.saver, "_write", look)
    monkeypatch.setattr(saving, "free_bytes", lambda _: trainer.saver.needed - 1)
    trainer.saver.require_free_space = lambda: None
    for _ in trainer.run(lambda: False, {}):
        pass
    assert seen[8] == [6, 4]
    assert [step for step, _ in list_checkpoints(trainer.saver.folder)] == [8, 6, 4]


def test_a_save_that_fails_midway_leaves_nothing_half_written(make_trainer, finish, monkeypatch):
    from bittygpt.training.checkpoints import checkpoint

    trainer, written = make_trainer("train.save_every=4"), []
    save_tensors = checkpoint.save_tensors

    def fill_up(path, tensors):
        save_tensors(path, tensors)
        written.append(path.name)
        if len(written) == 4:
            raise SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)")

    monkeypatch.setattr(checkpoint, "save_tensors", fill_up)
    with pytest.raises(DiskFullError):
        finish(trainer)
    (path,) = trainer.saver.folder.iterdir()
    assert path.name == "step-00000004"
    assert find_fault(path) is None


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, "x"),
        OSError(errno.EDQUOT, "x"),
        SafetensorError("I/O error: No space left on device (os error 28)"),
        RuntimeError("[enforce fail at inline_container.cc] . No space left on device"),
    ],
)
def test_every_form_of_a_full_disk_is_known(error):
    assert is_disk_full(error)
    assert not is_disk_full(OSError(errno.EACCES, "x"))
    assert not is_disk_full(RuntimeError("shapes differ"))


def test_frozen_weights_take_no_room_for_moments(make_trainer):
    model = make_trainer().model
    for parameter in model.parameters():
        parameter.requires_grad_(False)
    assert checkpoint_bytes(model, 2) - checkpoint_bytes(model, 0) == 0
