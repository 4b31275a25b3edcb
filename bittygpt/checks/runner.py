"""Makes all checks of a config, one after the other; what a check raises is what it found."""

import time
from collections.abc import Iterator
from typing import Literal

import torch

from bittygpt.checks import compiled, data, forms, functions, groups, learning, model, optimizers, parts
from bittygpt.checks.finding import Check, NotChecked
from bittygpt.checks.outcome import Outcome, tell
from bittygpt.checks.subject import Subject

THEMES: dict[str, tuple[Check, ...]] = {
    "functions": functions.CHECKS,
    "parts": parts.CHECKS,
    "model": model.CHECKS + forms.CHECKS,
    "optimizer": optimizers.CHECKS + groups.CHECKS,
    "data": data.CHECKS,
    "training": learning.CHECKS,
    "compiler": compiled.CHECKS,
}
LAST_COMPILATION = 30.0  # seconds after the start; later there is too little left of a minute


def run_checks(subject: Subject) -> Iterator[Outcome]:
    """All checks in the order of the textbook; the next one is made when its outcome is asked for."""
    started = time.monotonic()
    for theme, checks in THEMES.items():
        for check in checks:
            if theme == "compiler" and time.monotonic() - started > LAST_COMPILATION:
                reason = "the other checks took too long for another half minute"
                yield _outcome(theme, check, "skipped", reason, started=time.monotonic())
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
            return _outcome(theme, check, "skipped", str(reason), started)
        except Exception as error:
            text, place = tell(error, f"bittygpt/{check.look_in}")
            return _outcome(theme, check, "failed", text, started, place)
    state: Literal["passed", "failed"] = "passed" if finding.is_right else "failed"
    place = f"bittygpt/{finding.look_in or check.look_in}"
    return _outcome(theme, check, state, finding.text, started, place, finding.value, finding.limit)


def _outcome(
    theme: str,
    check: Check,
    state: Literal["passed", "failed", "skipped"],
    found: str,
    started: float,
    look_in: str = "",
    value: float | None = None,
    limit: float | None = None,
) -> Outcome:
    seconds = time.monotonic() - started
    place = look_in or f"bittygpt/{check.look_in}"
    return Outcome(theme, check.name, check.promise, state, found, place, seconds, value, limit)
