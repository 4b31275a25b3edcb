"""Makes all checks of a config, one after the other; what a check raises is what it found."""

import math
import time
from collections.abc import Iterator
from functools import partial
from types import ModuleType

import torch

from bittygpt.checks import compiled, data, functions, gradients, groups, learning, model, optimizers, parts
from bittygpt.checks.changes import explain
from bittygpt.checks.finding import Check, Finding, NotChecked
from bittygpt.checks.outcome import Outcome, State, tell
from bittygpt.checks.subject import Subject


def _checks_in(*modules: ModuleType) -> tuple[Check, ...]:
    """In the order in which they stand there."""
    return tuple(x for module in modules for x in vars(module).values() if isinstance(x, Check))


THEMES: dict[str, tuple[Check, ...]] = {
    "functions": _checks_in(functions),
    "parts": _checks_in(parts),
    "model": _checks_in(model, gradients),
    "optimizer": _checks_in(optimizers, groups),
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
            if theme == "compiler" and time.monotonic() - started > LAST_COMPILATION:
                reason = "the other checks took too long for another half minute"
                yield _outcome(theme, check, "skipped", reason, started=time.monotonic())
            else:
                yield make(check, subject, theme)


def make(check: Check, subject: Subject, theme: str = "") -> Outcome:
    """One check, with random numbers of its own: it finds the same whatever was checked before it."""
    started = time.monotonic()
    with torch.random.fork_rng(devices=[]):
        attempt = partial(_attempt, check, subject.config.run.seed)
        try:
            finding = attempt(subject)
            if finding.is_right:
                return _outcome(theme, check, "passed", finding.text, started, "", finding)
        except NotChecked as reason:
            return _outcome(theme, check, "skipped", str(reason), started)
        except Exception as error:
            text, place = tell(error, check.look_in)
            if place != check.look_in:  # it is the code's own error, not that of a comparison
                return _outcome(theme, check, "failed", text, started, place)
            finding = Finding(text, math.nan, 0.0)
        verdict = explain(check, finding, subject, attempt)
    return _outcome(theme, check, verdict.state, verdict.text, started, verdict.look_in, finding)


def _attempt(check: Check, seed: int, subject: Subject) -> Finding:
    torch.manual_seed(seed)
    return check.measure(subject)


def _outcome(
    theme: str,
    check: Check,
    state: State,
    found: str,
    started: float,
    look_in: str = "",
    finding: Finding | None = None,
) -> Outcome:
    seconds = time.monotonic() - started
    place = look_in or check.look_in
    place = place if place.startswith("bittygpt/") else f"bittygpt/{place}"
    numbers = (finding.value, finding.limit) if finding else (None, None)
    return Outcome(theme, check.name, check.promise, state, found, place, seconds, *numbers)
