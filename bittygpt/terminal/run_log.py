"""Where the reports of a run go: metrics.jsonl, status.json, loss.png and the display."""

import dataclasses
import math
import time
from collections.abc import Callable, Sequence
from typing import Any

from bittygpt.terminal.ladder import Rung
from bittygpt.terminal.loss_plot import draw_losses
from bittygpt.terminal.training import TrainingDisplay
from bittygpt.training.checkpoint_folder import newest_good
from bittygpt.training.loop import Trainer
from bittygpt.training.reports import EvalReport, SavedReport, StepReport
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
        self.last_checkpoint = str(newest_good(run.checkpoints, lambda _: None) or "") or None
        self.drawn_at = time.monotonic()
        self.write_status("running")

    def take(self, report: object) -> None:
        """One report."""
        if isinstance(report, StepReport):
            self.last_loss = report.loss
            self._log("step", report)
            self.display.step(report)
            self.write_status("running")
        elif isinstance(report, EvalReport):
            self._log("eval", report)
            self.display.evaluation(report)
            if time.monotonic() - self.drawn_at > PLOT_EVERY:
                self.draw()
        elif isinstance(report, SavedReport):
            self.run.sync_log()
            self.last_checkpoint = str(report.path)
            self.write_status("running")

    def _log(self, kind: str, report: StepReport | EvalReport) -> None:
        event = {"event": kind, **dataclasses.asdict(report)}
        self.run.log(event)
        if self.on_event:
            self.on_event(event)

    def write_status(self, state: str, **more: Any) -> None:
        """Replace status.json."""
        left = self.display.seconds_left()
        self.run.write_status(
            state=state,
            step=self.trainer.step,
            of=self.trainer.total_steps,
            loss=self.last_loss,
            eta=None if left is None or state != "running" else round(left, 1),
            checkpoint=self.last_checkpoint,
            **more,
        )

    def draw(self) -> None:
        """Replace loss.png."""
        try:
            self._draw()
        except Exception as error:  # a picture is never worth a run
            self.display.say(f"loss.png was not drawn: {type(error).__name__}: {error}")
        self.drawn_at = time.monotonic()

    def _draw(self) -> None:
        draw_losses(self.run.events(), self.run.plot, self.trainer.config.run.name, self.ladder)
