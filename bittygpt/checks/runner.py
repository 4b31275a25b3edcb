"""Makes all checks of a config, one after the other; what a check raises is what it found."""

import time
import traceback
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch

from bittygpt.checks import compiled, data, functions, learning, model, optimizers, parts
from bittygpt.checks.finding import Check, NotChecked
from bittygpt.checks.subject import Subject

PACKAGE = Path(__file__).resolve().parent.parent
THEMES: dict[str, tuple[Check, ...]] = {
    "functions": functions.CHECKS,
    "parts": parts.CHECKS,
    "model": model.CHECKS,
    "optimizer": optimizers.CHECKS,
    "data": data.CHECKS,
    "training": learning.CHECKS,
    "compiler": compiled.CHECKS,
}
LAST_COMPILATION = 30.0  # seconds after the start; later there is too little left of a minute


@dataclass(frozen=True)
class Outcome:
    """What became of a check.

    Attributes:
        text: the number and its limit, the error, or why it was not checked.
        value, limit: the number is right if it is at most the limit; None where there is no number.
        look_in: the file in which to seek the mistake (with the line, where an error was raised).
    """

    theme: str
    check: Check
    state: Literal["passed", "failed", "skipped"]
    text: str
    look_in: str
    seconds: float
    value: float | None = None
    limit: float | None = None

    def as_dict(self) -> dict[str, Any]:
        """For JSON, in which a number that is none (NaN) is null."""
        is_number = self.value is not None and abs(self.value) < float("inf")
        return {
            "theme": self.theme,
            "name": self.check.name,
            "promise": self.check.promise,
            "state": self.state,
            "found": self.text,
            "value": self.value if is_number else None,
            "limit": self.limit,
            "look_in": f"bittygpt/{self.look_in}",
            "seconds": round(self.seconds, 3),
        }


def run_checks(subject: Subject) -> Iterator[Outcome]:
    """All checks in the order of the textbook; the next one is made when its outcome is asked for."""
    started = time.monotonic()
    for theme, checks in THEMES.items():
        for check in checks:
            late = theme == "compiler" and time.monotonic() - started > LAST_COMPILATION
            if late:
                reason = "the other checks took too long for another half minute"
                yield Outcome(theme, check, "skipped", reason, check.look_in, 0.0)
            else:
                yield make(check, subject, theme)


def make(check: Check, subject: Subject, theme: str = "") -> Outcome:
    """One check, with random numbers of its own: it finds the same whatever was checked before it."""
    started = time.monotonic()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(subject.config.run.seed)
        try:
            finding = check.measure(subject)
        except NotChecked as reason:
            return Outcome(theme, check, "skipped", str(reason), check.look_in, time.monotonic() - started)
        except Exception as error:
            text, place = _told(error, check)
            return Outcome(theme, check, "failed", text, place, time.monotonic() - started)
    state: Literal["passed", "failed"] = "passed" if finding.is_right else "failed"
    seconds = time.monotonic() - started
    look_in = finding.look_in or check.look_in
    return Outcome(theme, check, state, finding.text, look_in, seconds, finding.value, finding.limit)


def _told(error: Exception, check: Check) -> tuple[str, str]:
    """An error in one line, and where it was raised: the innermost line of the package that is not a check's own."""
    lines = str(error).strip().splitlines()
    text = f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__
    place = check.look_in
    for frame in traceback.extract_tb(error.__traceback__):
        path = Path(frame.filename)
        if path.is_relative_to(PACKAGE) and path.parent.name != "checks":
            place = f"{path.relative_to(PACKAGE)}:{frame.lineno}"
    return text, place
