"""Tells an intended change of a formula from a mistake.

An oracle knows the formula as it was. A changed one is therefore held to itself: its gradient must be that of its
value. What has no gradient, such as an optimizer, must be able to learn.
"""

import math
from collections.abc import Callable
from contextlib import suppress
from functools import lru_cache, partial
from typing import NamedTuple

from bittygpt.checks.finding import Check, Finding, differentiated, file_of, worst_of
from bittygpt.checks.outcome import State
from bittygpt.checks.subject import Subject
from bittygpt.checks.suite.gradients import finite_differences
from bittygpt.checks.suite.learning import learn_one_batch
from bittygpt.core.choices import OPTIMIZERS
from bittygpt.engine.formulas import by_file, changed_while_running


class Verdict(NamedTuple):
    """The state of a failed check, its text, and the file to look in."""

    state: State
    text: str
    look_in: str


def explain(
    check: Check, finding: Finding, subject: Subject, attempt: Callable[[Subject], Finding]
) -> Verdict:
    """Repeat a failed check from the start, and find which changed formulas it executes."""
    fresh = Subject(subject.config)  # so that what others have built before is built again
    changed = _changed_in(lambda: attempt(fresh))
    files = sorted({name.partition(":")[0] for name in changed})
    own_place = finding.look_in or check.look_in
    if not changed or own_place.startswith("engine/"):
        return Verdict("failed", finding.text, own_place)
    place = f"core/{files[0]}"
    you_changed = f"you changed {' and '.join(by_file(changed, 'core/{}: {}'))}"
    if check.always:
        is_elsewhere = not own_place.startswith("core/") or own_place.removeprefix("core/") in files
        return Verdict("failed", f"{finding.text}; {you_changed}", own_place if is_elsewhere else place)
    use_it = [each for each in differentiated if _changed_in(partial(each[0], dict(each[1])))]
    if use_it:
        found = worst_of(finite_differences(*each) for each in use_it)
        verb = f"is {'' if found.is_right else 'not '}that of its value"
        text = f"{you_changed}; {finding.text}; its gradient {verb}, {found.text}"
        return Verdict("changed" if found.is_right else "failed", text, place)
    learned, name, executed = _learned(subject, place)
    if executed.isdisjoint(changed):
        return Verdict("changed", f"{you_changed}; {finding.text}", place)
    can = "can" if learned.is_right else "cannot"
    text = f"{you_changed}; {finding.text}; one batch {can} be learned with {name}: {learned.text}"
    return Verdict("changed" if learned.is_right else "failed", text, place)


def _changed_in(run: Callable[[], object]) -> list[str]:
    """The changed formulas that a check executes, even if it raises."""

    def quietly() -> None:
        with suppress(Exception):
            run()

    return changed_while_running(quietly)


@lru_cache(maxsize=1)
def _learned(subject: Subject, place: str) -> tuple[Finding, str, frozenset[str]]:
    """What comes of one batch with the config's optimizer, or with one that a file has a part in; its name; and which
    changed formulas that executes."""
    names = [name for name, kind in OPTIMIZERS.items() if place in map(file_of, kind.__mro__)]
    own = subject.config.optim.name
    name = own if own in names or not names else names[0]
    findings: list[Finding] = []
    executed = _changed_in(lambda: findings.append(learn_one_batch(subject, name)))
    nothing = Finding("it raises an error", math.inf, 0.0)
    return (*findings, nothing)[0], name, frozenset(executed)
