"""Where the reports of a run go: metrics.jsonl, status.json, loss.png, report.html, the display and loggers."""

import dataclasses
import math
import time
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any

import bittygpt
from bittygpt.engine.formulas import by_file, changed
from bittygpt.files import is_disk_full
from bittygpt.terminal.baselines import BaselineLoss
from bittygpt.terminal.training import TrainingDisplay
from bittygpt.terminal.trouble import describe_trouble
from bittygpt.tracking.loss_plot import draw_losses
from bittygpt.training.checkpoints.checkpoint_folder import newest_good
from bittygpt.training.checkpoints.run_folder import HISTORY, RunFolder
from bittygpt.training.events import (
    DivergedReport,
    EvalReport,
    InterruptedReport,
    LowSpaceReport,
    OutOfTimeReport,
    Report,
    RewindReport,
    SampleReport,
    SavedReport,
    SmallerMicroBatchReport,
    StepReport,
)
from bittygpt.training.loop import Trainer

DRAW_EVERY = 30.0  # seconds between two drawings of loss.png and report.html, at least,
SHARE = 0.01  # and at most this share of the time goes into them
KINDS = {
    EvalReport: "eval",
    SampleReport: "sample",
    SmallerMicroBatchReport: "micro_batch",
    LowSpaceReport: "low_space",
    OutOfTimeReport: "out_of_time",
    InterruptedReport: "interrupted",
    DivergedReport: "diverged",
}


class RunLog:
    """Puts reports where they belong: metrics.jsonl, status.json, loss.png, report.html and the display.

    `listeners` get every event of metrics.jsonl as well; `write_page` replaces report.html.
    """

    def __init__(
        self,
        run: RunFolder,
        trainer: Trainer,
        display: TrainingDisplay,
        listeners: Sequence[Callable[[dict[str, Any]], None]] = (),
        baselines: Sequence[BaselineLoss] = (),
        write_page: Callable[[], None] = lambda: None,
    ) -> None:
        self.baselines = baselines or [BaselineLoss("uniform", math.log(trainer.tokenizer.vocab_size))]
        self.run, self.trainer, self.display, self.listeners = run, trainer, display, listeners
        self.write_page = write_page
        self.unwritten: list[dict[str, Any]] = []
        self.next_drawing = time.monotonic() + DRAW_EVERY
        self.has_drawn = False
        self.beginning: dict[str, Any] | None = None
        self._look_back()
        self.write_status("running")

    def begin(self) -> None:
        """Take up the log where the trainer stands; an event says so before the first of those that follow."""
        trainer, step = self.trainer, self.trainer.step
        reached = self.run.truncate_after(step, len(trainer.guard.rewinds))
        self.beginning = {
            "event": "resume" if step else "start",
            "step": step,
            **({"reached": reached} if step else {}),
            "time": datetime.now().astimezone().isoformat(timespec="seconds"),
            "parameters": trainer.model.num_parameters(),
            "tokens_per_step": trainer.tokens_per_step,
            "device": trainer.device.full_name,
            "precision": trainer.device.precision,
            "ranks": trainer.ranks.world_size,
            "ladder": [baseline._asdict() for baseline in self.baselines],
            "changed": by_file(changed()),
            "version": bittygpt.__version__,
            "elapsed": trainer.elapsed(),
        }

    def _look_back(self) -> None:
        """What status.json says of the steps that are done, as the disk has it: something was undone, or never seen."""
        losses = [
            e["loss"] for e in self.run.events() if e["event"] == "step" and e["step"] <= self.trainer.step
        ]
        self.last_loss: float | None = losses[-1] if losses else None
        self.last_checkpoint = str(newest_good(self.run.checkpoints, lambda _: None) or "") or None

    def take(self, report: Report) -> None:
        """One report."""
        if kind := KINDS.get(type(report)):
            event = {"event": kind, **dataclasses.asdict(report)}
            event.setdefault("elapsed", self.trainer.elapsed())
            self._log(event)
        if isinstance(report, StepReport):
            self.last_loss = report.loss
            self._log({"event": "step", **dataclasses.asdict(report)})
            self.display.step(report)
            self.write_status("running")
            if not self.has_drawn and self.trainer.config.train.time_budget is not None:
                self.draw()  # what is imported for it has its time now, and not after the last step
                self.next_drawing = time.monotonic()
        elif isinstance(report, EvalReport):
            self.display.evaluation(report)
            self._draw_if_due()
        elif isinstance(report, RewindReport):
            self.unwritten = [
                event
                for event in self.unwritten
                if event["step"] <= report.rewind.to or event["event"] in HISTORY
            ]
            self.run.truncate_after(report.rewind.to, len(self.trainer.guard.rewinds) - 1)
            self._log({"event": "rewind", "step": report.rewind.to, **dataclasses.asdict(report.rewind)})
            self._look_back()
            self.write_status("running")
            self.display.say(describe_trouble(report))
        elif isinstance(report, SavedReport):
            self.last_checkpoint = str(report.path)
            self.write_status("running")
            self._draw_if_due()
        elif isinstance(report, SampleReport):
            self.display.sample(report)
        elif isinstance(report, LowSpaceReport | SmallerMicroBatchReport | OutOfTimeReport):
            self.display.say(describe_trouble(report))
        elif isinstance(report, DivergedReport):
            self._look_back()  # a checkpoint may have been set aside

    def _log(self, event: dict[str, Any]) -> None:
        if self.beginning is not None:  # not before there is something to follow it
            first, self.beginning = self.beginning, None
            self._log(first)
        self.unwritten.append(event)
        try:
            self._write_events()
        except OSError as error:
            if not is_disk_full(error):
                raise
            if len(self.unwritten) == 1:
                self.display.say(f"{self.run.metrics}: the disk is full; lines are kept until there is room")
        for listener in self.listeners:
            listener(event)

    def _write_events(self) -> None:
        while self.unwritten:
            self.run.log(self.unwritten[0])
            self.unwritten.pop(0)

    def sync(self) -> None:
        """Have all events on the disk, before a checkpoint that relies on it: what it holds is not made again."""
        self._write_events()
        self.run.sync_log()

    def write_status(self, state: str, **more: Any) -> None:
        """Replace status.json."""
        left = self.display.seconds_left()
        fields = {
            "state": state,
            "step": self.trainer.step,
            "of": self.trainer.total_steps,
            "loss": self.last_loss,
            "eta": None if left is None or state != "running" else round(left, 1),
            "checkpoint": self.last_checkpoint,
        }
        try:
            self.run.write_status(**fields, **more)
        except OSError as error:  # a full disk leaves the status before; the run is worth more
            if not is_disk_full(error):
                raise

    def _draw_if_due(self) -> None:
        if time.monotonic() > self.next_drawing:
            self.draw()
            self.trainer.meter.restart(self.trainer.step)  # it is no time of a step's

    def draw(self, *, with_plot: bool = True) -> None:
        """Replace report.html and loss.png; without `with_plot` the page alone, which is quick."""
        began = time.monotonic()
        drawings = [(self.run.page, self.write_page), (self.run.plot, self._draw_plot)]
        with self.trainer.timer.pause("drawing" if self.has_drawn else "first drawing"):
            for path, drawing in drawings if with_plot else drawings[:1]:
                try:
                    drawing()
                except Exception as error:  # a picture is never worth a run
                    self.display.say(f"{path.name} was not drawn: {type(error).__name__}: {error}")
        self.has_drawn = True
        now = time.monotonic()
        self.next_drawing = now + max(DRAW_EVERY, (now - began) / SHARE)

    def _draw_plot(self) -> None:
        draw_losses(self.run.events(), self.run.plot, self.trainer.config.run.name, self.baselines)
