"""Where the reports of a run go: metrics.jsonl, status.json, loss.png and the display."""

import dataclasses
import math
import time
from collections.abc import Callable, Sequence
from typing import Any

from bittygpt.terminal.ladder import Rung
from bittygpt.terminal.loss_plot import draw_losses
from bittygpt.terminal.training import TrainingDisplay
from bittygpt.terminal.trouble import describe_trouble
from bittygpt.training.checkpoint_folder import newest_good
from bittygpt.training.disk_space import is_disk_full
from bittygpt.training.loop import Trainer
from bittygpt.training.reports import (
    EvalReport,
    LowSpaceReport,
    OutOfTimeReport,
    Report,
    RewindReport,
    SavedReport,
    SmallerMicroBatchReport,
    StepReport,
)
from bittygpt.training.run_folder import RunFolder

PLOT_EVERY = 30.0  # seconds between two drawings of loss.png, at least


class RunLog:
    """Puts reports where they belong: metrics.jsonl, status.json, loss.png and the display.

    `on_event` gets every event of metrics.jsonl as well.
    """

    def __init__(
        self,
        run: RunFolder,
        trainer: Trainer,
        display: TrainingDisplay,
        on_event: Callable[[dict[str, Any]], None] | None,
        ladder: Sequence[Rung] = (),
    ) -> None:
        self.ladder = ladder or [Rung("uniform", math.log(trainer.tokenizer.vocab_size))]
        self.run, self.trainer, self.display, self.on_event = run, trainer, display, on_event
        self.last_loss: float | None = None
        self.unwritten: list[dict[str, Any]] = []
        self.last_checkpoint = str(newest_good(run.checkpoints, lambda _: None) or "") or None
        self.drawn_at = time.monotonic()
        self.write_status("running")

    def take(self, report: Report) -> None:
        """One report."""
        if isinstance(report, StepReport):
            self.last_loss = report.loss
            self._log({"event": "step", **dataclasses.asdict(report)})
            self.display.step(report)
            self.write_status("running")
        elif isinstance(report, EvalReport):
            self._log({"event": "eval", **dataclasses.asdict(report)})
            self.display.evaluation(report)
            if time.monotonic() - self.drawn_at > PLOT_EVERY:
                self.draw()
        elif isinstance(report, RewindReport):
            self.unwritten = [event for event in self.unwritten if event["step"] <= report.rewind.to]
            self.run.forget_after(report.rewind.to, len(self.trainer.guard.rewinds) - 1)
            self._log({"event": "rewind", "step": report.rewind.to, **dataclasses.asdict(report.rewind)})
            self.display.say(describe_trouble(report))
        elif isinstance(report, SavedReport):
            self.last_checkpoint = str(report.path)
            self.write_status("running")
        elif isinstance(report, LowSpaceReport | SmallerMicroBatchReport | OutOfTimeReport):
            self.display.say(describe_trouble(report))

    def _log(self, event: dict[str, Any]) -> None:
        self.unwritten.append(event)
        try:
            self._write_events()
        except OSError as error:
            if not is_disk_full(error):
                raise
            if len(self.unwritten) == 1:
                self.display.say(f"{self.run.metrics}: the disk is full; lines are kept until there is room")
        if self.on_event:
            self.on_event(event)

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

    def draw(self) -> None:
        """Replace loss.png."""
        try:
            self._draw()
        except Exception as error:  # a picture is never worth a run
            self.display.say(f"loss.png was not drawn: {type(error).__name__}: {error}")
        self.drawn_at = time.monotonic()

    def _draw(self) -> None:
        draw_losses(self.run.events(), self.run.plot, self.trainer.config.run.name, self.ladder)
