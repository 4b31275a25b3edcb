"""Where reports go, also when the disk is full or a line was cut off."""

import errno
import json
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from bittygpt.terminal.training import TrainingDisplay
from bittygpt.tracking.run_log import RunLog
from bittygpt.training.checkpoints.run_folder import RunFolder
from bittygpt.training.divergence import Rewind
from bittygpt.training.events import (
    EvalReport,
    LowSpaceReport,
    OutOfTimeReport,
    RewindReport,
    SavedReport,
    SmallerMicroBatchReport,
    StepReport,
)
from bittygpt.training.timing.step_timer import StepTimer


@pytest.fixture
def log(tmp_path):
    trainer = SimpleNamespace(
        tokenizer=SimpleNamespace(vocab_size=257),
        step=3,
        total_steps=9,
        elapsed=lambda: 1.0,
        guard=SimpleNamespace(rewinds=[]),
        config=SimpleNamespace(run=SimpleNamespace(name="x"), train=SimpleNamespace(time_budget=None)),
        timer=StepTimer(time.monotonic),
    )
    (tmp_path / "checkpoints").mkdir()
    return RunLog(RunFolder(tmp_path), trainer, TrainingDisplay(9, 0, show=True))


def evaluation(step):
    return EvalReport(step, 1.5, 0.5, 1.0)


def step_report(step, loss):
    return StepReport(step, 100, loss, 1.0, 1e-3, 10.0, None, 0.0, 1.0, "ab", 1.0)


def steps(log):
    return [json.loads(line)["step"] for line in log.run.metrics.read_text().splitlines()]


def test_lines_that_find_no_room_are_kept_until_there_is(log, monkeypatch, capsys):
    write, full = RunFolder.log, [False]

    def limited(run, event):
        if full[0]:
            raise OSError(errno.ENOSPC, "No space left on device")
        write(run, event)

    monkeypatch.setattr(RunFolder, "log", limited)
    log.take(evaluation(1))
    full[0] = True
    log.take(evaluation(2))
    log.take(evaluation(3))
    with pytest.raises(OSError, match="No space"):
        log.sync()
    assert steps(log) == [1]
    full[0] = False
    log.take(evaluation(4))
    log.sync()
    assert steps(log) == [1, 2, 3, 4]
    assert capsys.readouterr().err.count("the disk is full; lines are kept until there is room") == 1


def test_a_write_that_fails_midway_leaves_no_part_of_a_line(log, monkeypatch):
    log.take(evaluation(1))
    before = log.run.metrics.read_bytes()

    class HalfFull:
        def __init__(self, file):
            self.file = file

        def __enter__(self):
            return self

        def __exit__(self, *_):
            self.file.close()

        def tell(self):
            return self.file.tell()

        def write(self, data):
            self.file.write(data[: len(data) // 2])

        def flush(self):
            self.file.flush()
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("builtins.open", lambda *a, o=open, **k: HalfFull(o(*a, **k)))
    with pytest.raises(OSError, match="No space"):
        log.run.log({"event": "eval", "step": 2})
    monkeypatch.undo()
    assert log.run.metrics.read_bytes() == before


def test_a_status_that_finds_no_room_costs_nothing(log, monkeypatch):
    def full(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(RunFolder, "write_status", full)
    log.write_status("running")
    monkeypatch.setattr(
        RunFolder, "write_status", lambda *_, **__: (_ for _ in ()).throw(OSError(errno.EACCES, "no"))
    )
    with pytest.raises(OSError, match="no"):
        log.write_status("running")


def test_a_rewind_drops_the_steps_gone_back_over_and_stays_itself(log, capsys):
    for step in (1, 2, 3):
        log.take(evaluation(step))
    rewind = Rewind(4, 1, 2, 5, "the loss is nan", None, 1.0, "ab", "Once  upon\na time")
    log.trainer.guard.rewinds.append(rewind)
    log.take(RewindReport(rewind))
    log.take(evaluation(2))
    assert steps(log) == [1, 1, 2]
    assert [event["event"] for event in log.run.events()] == ["eval", "rewind", "eval"]
    said = capsys.readouterr().err
    assert (
        "step 4 diverged: the loss is nan; back to the state after step 1, leaving out batches 2 to 5" in said
    )
    assert "which begin with 'Once upon a time'" in said
    log.run.truncate_after(1, rewinds=0)
    assert steps(log) == [1]


def test_after_a_rewind_the_status_names_what_is_left(log):
    for step in (1, 2, 3):
        log.take(step_report(step, loss=4.0 - step))
    log.take(SavedReport(3, log.run.checkpoints / "step-00000003"))
    assert (log.run.read_status()["loss"], Path(log.run.read_status()["checkpoint"]).name) == (
        1.0,
        "step-00000003",
    )
    rewind = Rewind(4, 1, 2, 5, "the loss is nan", None, 1.0, "ab", "Once")
    log.trainer.guard.rewinds.append(rewind)
    log.trainer.step = 1
    log.take(RewindReport(rewind))  # which has set the checkpoint aside
    assert log.run.read_status()["loss"] == 3.0
    assert log.run.read_status()["checkpoint"] is None


def test_a_status_knows_the_loss_of_the_step_that_is_gone_on_from(log):
    for step in (1, 2, 3, 4):
        log.take(step_report(step, loss=4.0 - step))
    again = RunLog(log.run, log.trainer, TrainingDisplay(9, 0, show=True))  # resumed at step 3
    assert again.run.read_status()["loss"] == 1.0


@pytest.mark.parametrize(
    ("report", "said"),
    [
        (
            LowSpaceReport(3, 250, 10**6, 2 * 10**6),
            "the checkpoint of step 250 takes 2 MB, and 1 MB are free; make room",
        ),
        (LowSpaceReport(3, None, 10**6, 2 * 10**6), "step 3: the checkpoint found no room: it takes 2 MB"),
        (
            OutOfTimeReport(3, "evaluation"),
            "step 3: the time budget is used up; the evaluation was broken off",
        ),
        (
            OutOfTimeReport(0, "evaluations", 600.0, 900.0),
            "an evaluation would take about 10 min 00 s of a time budget of 15 min 00 s, so none is made; "
            "set train.eval_tokens lower",
        ),
        (
            OutOfTimeReport(3, "steps", 899.0, 900.0),
            "the time budget of 15 min 00 s has no room for another step",
        ),
        (
            OutOfTimeReport(0, "steps", 9.0, 5.0),
            "has no room for a step: the start alone took 9 s; one is taken",
        ),
        (SmallerMicroBatchReport(3, 4), "step 3: out of memory; done again with micro-batches of 4"),
    ],
)
def test_trouble_is_said(log, capsys, report, said):
    log.take(report)
    assert said in capsys.readouterr().err
