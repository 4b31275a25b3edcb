"""Runs all checks of a config, one after the other. An exception that a check raises is a failed check."""

import math
import time
from collections.abc import Iterator
from dataclasses import replace
from types import ModuleType

import torch

from bittygpt.checks.changes import Verdict, explain
from bittygpt.checks.finding import Check, Finding, NotChecked, differentiated
from bittygpt.checks.outcome import Outcome, describe_error
from bittygpt.checks.subject import Subject
from bittygpt.checks.suite import compiled, data, functions, gradients, learning, model, optimizers, parts


def _checks_in(*modules: ModuleType) -> tuple[Check, ...]:
    """In the order in which they stand there."""
    return tuple(x for module in modules for x in vars(module).values() if isinstance(x, Check))


THEMES: dict[str, tuple[Check, ...]] = {
    "functions": _checks_in(functions),
    "parts": _checks_in(parts),
    "model": _checks_in(model, gradients),
    "optimizer": _checks_in(optimizers),
    "data": _checks_in(data),
    "training": _checks_in(learning),
    "compiler": _checks_in(compiled),
}
LAST_COMPILATION = 30.0  # seconds after the start; later there is too little left of a minute


def run_checks(subject: Subject) -> Iterator[Outcome]:
    """All checks in the order of the textbook; the next one is made when its outcome is asked for."""
    started = time.monotonic()
    for theme, checks in THEMES.items():
        for check in checks:
            is_late = theme == "compiler" and time.monotonic() - started > LAST_COMPILATION
            yield make(replace(check, measure=_no_time) if is_late else check, subject, theme)


def _no_time(_subject: Subject) -> Finding:
    raise NotChecked("the other checks took too long for another half minute")


def make(check: Check, subject: Subject, theme: str = "") -> Outcome:
    """One check, with random numbers of its own: it finds the same whatever was checked before it."""
    started = time.monotonic()
    with torch.random.fork_rng(devices=[]):
        finding, verdict = _judged(check, subject)
    numbers = (finding.value, finding.limit) if finding else (None, None)
    place, seconds = f"bittygpt/{verdict.look_in}", time.monotonic() - started
    return Outcome(theme, check.name, check.promise, verdict.state, verdict.text, place, seconds, *numbers)


def _judged(check: Check, subject: Subject) -> tuple[Finding | None, Verdict]:
    """What a check has found, if that is a number, and what is made of it."""

    def attempt(which: Subject) -> Finding:
        differentiated.clear()
        torch.manual_seed(which.config.run.seed)
        return check.measure(which)

    try:
        finding = attempt(subject)
    except NotChecked as reason:
        return None, Verdict("skipped", str(reason), check.look_in)
    except Exception as error:
        text, place = describe_error(error, f"bittygpt/{check.look_in}")
        place = place.removeprefix("bittygpt/")
        if place != check.look_in:  # it is the code's own error, not that of a comparison
            return None, Verdict("failed", text, place)
        finding = Finding(text, math.nan, 0.0)
    if finding.is_right:
        return finding, Verdict("passed", finding.text, finding.look_in or check.look_in)
    return finding, explain(check, finding, subject, attempt)
