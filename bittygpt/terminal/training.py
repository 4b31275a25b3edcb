"""What a person sees of a run: a live display on a terminal, plain lines in a pipe."""

import os
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import datetime, timedelta

from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from bittygpt.terminal.baselines import BaselineLoss, compare_with
from bittygpt.terminal.console import draws, duration, log, log_console, printable
from bittygpt.training.events import EvalReport, SampleReport, StepReport

LINE_EVERY = 1.0  # seconds between two plain lines, at least
SHOWN_CHARACTERS = 300  # of a sample; metrics.jsonl has it whole
WINDOW = 50  # reports that the time left is estimated from


class TrainingDisplay:
    """Shows the reports of a run; use it as a context manager, so that the terminal is left as it was found."""

    def __init__(
        self,
        total_steps: int | Callable[[], int | None],
        first_step: int,
        show: bool = True,
        baselines: Sequence[BaselineLoss] = (),
        deadline: Callable[[], float | None] = lambda: None,
    ) -> None:
        """`total_steps` may be a forecast that changes; `deadline` gives the seconds until one, if there is one."""
        self._total_now = total_steps if callable(total_steps) else lambda: total_steps
        self._deadline, self._show, self._baselines = deadline, show, baselines
        self._recent = deque([(time.monotonic(), first_step)], maxlen=WINDOW)
        self._last_line = 0.0
        self._step: StepReport | None = None
        self._eval: EvalReport | None = None
        self._notice = ""
        self._live: Live | None = None
        if show and draws():
            self._live = Live(get_renderable=lambda: self.__rich__(), console=log_console())

    def __enter__(self) -> "TrainingDisplay":
        if self._live:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._live:
            with suppress(OSError):  # the terminal may be gone
                self._live.stop()

    @property
    def _total(self) -> int:
        return self._total_now() or 0  # 0: not known yet

    def seconds_left(self) -> float | None:
        """Until the deadline; else by the speed of late, evaluations and checkpoints counted in, or None so far."""
        if (left := self._deadline()) is not None:
            return left
        (before, first), (now, step) = self._recent[0], self._recent[-1]
        return (now - before) / (step - first) * (self._total - step) if step > first else None

    def step(self, report: StepReport) -> None:
        """Show a step."""
        self._step = report
        self._recent.append((time.monotonic(), report.step))
        if (
            self._show
            and not self._live
            and (time.monotonic() - self._last_line >= LINE_EVERY or report.step == self._total)
        ):
            self._last_line = time.monotonic()
            log(f"step {report.step}/{self._total or '?'}  " + "  ".join(self._facts(report)))

    def evaluation(self, report: EvalReport) -> None:
        """Show an evaluation; it stays above the live part."""
        self._eval = report
        bits = "" if report.val_bpb is None else f"  {report.val_bpb:.3f} bits per byte"
        place = compare_with(self._baselines, report.val_loss)
        self.say(f"step {report.step}  val loss {report.val_loss:.4f}{bits}{'  ' * bool(place)}{place}")

    def sample(self, report: SampleReport) -> None:
        """Show the beginning of a text that the model wrote, on one line."""
        text = printable(" ".join((report.prompt + report.text).split()))
        shown = text if len(text) <= SHOWN_CHARACTERS else f"{text[:SHOWN_CHARACTERS]} …"
        self.say(f"step {report.step}  writes: {shown or '(nothing)'}")

    def say(self, message: str) -> None:
        """A line that stays."""
        if not self._show:
            return
        if self._live:
            with suppress(OSError):
                self._live.console.print(message, markup=False)
        else:
            log(message)

    def _facts(self, report: StepReport) -> list[str]:
        facts = [
            f"loss {report.loss:.4f}",
            f"lr {report.lr:.2e}",
            f"{report.tokens_per_second:,.0f} tokens/s",
        ]
        if report.mfu is not None:
            facts.append(f"MFU {report.mfu:.0%}")
        left = self.seconds_left()
        if left is not None and report.step != self._total:
            finish = datetime.now() + timedelta(seconds=left)
            day = "" if finish.date() == datetime.now().date() else finish.strftime("%a %d %b ")
            facts += [f"{duration(left)} left", f"finish {day}{finish:%H:%M}"]
        return facts

    def stopping(self, message: str) -> None:
        """Say that a stop was asked for. Safe in a signal handler: it touches no stream that is in use."""
        if self._live:
            self._notice = message  # the display's own thread shows it
        elif self._show:
            with suppress(OSError):
                os.write(2, f"{message}\n".encode())

    def __rich__(self) -> Table:
        """The live part: step, bar, facts, the last validation, a notice; as many rows as the width needs."""
        rows = Table.grid()
        if self._step is not None:
            step, total = self._step.step, self._total
            of = f" of {total:,}  {step / total:.0%}" if total else ""
            rows.add_row(Text.assemble((f"step {step:,}", "bold"), of))
            rows.add_row(ProgressBar(total=total or None, completed=step, width=40))
            rows.add_row(Text("  ".join(self._facts(self._step))))
        if self._eval is not None:
            rows.add_row(Text(f"val loss {self._eval.val_loss:.4f} at step {self._eval.step:,}"))
            if place := compare_with(self._baselines, self._eval.val_loss):
                rows.add_row(Text(place))
        if self._notice:
            rows.add_row(Text(self._notice, style="bold"))
        return rows
