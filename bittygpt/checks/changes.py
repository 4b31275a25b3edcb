"""A check that fails: is it a mistake, or is it that a formula of core was changed by someone who meant it?

An oracle knows the formula as it was. A changed one is therefore held to itself: its gradient must be that of its
value. What has no gradient, such as an optimizer, must be able to learn.
"""

from collections.abc import Callable
from contextlib import suppress
from functools import lru_cache
from typing import NamedTuple

from bittygpt.checks.finding import Check, Finding, differentiated, file_of, worst_of
from bittygpt.checks.gradients import finite_differences
from bittygpt.checks.learning import learn_one_batch
from bittygpt.checks.outcome import State
from bittygpt.checks.subject import Subject
from bittygpt.core.choices import OPTIMIZERS
from bittygpt.engine.formulas import changed_while_running


class Verdict(NamedTuple):
    """What became of a failed check, in which words, and where to look."""

    state: State
    text: str
    look_in: str


def explain(
    check: Check, finding: Finding, subject: Subject, attempt: Callable[[Subject], Finding]
) -> Verdict:
    """Make a failed check once more, from the start, and see which changed formulas are executed."""
    fresh = Subject(subject.config)  # so that what others have built before is built again
    differentiated.clear()

    def again() -> None:
        with suppress(Exception):
            attempt(fresh)

    changed = changed_while_running(again)
    own_place = finding.look_in or check.look_in
    if not changed or finding.look_in.startswith("engine/"):
        return Verdict("failed", finding.text, own_place)
    you_changed, place = f"you changed {listed(changed)}", f"core/{changed[0].partition(':')[0]}"
    if check.always:
        return Verdict("failed", f"{finding.text}; {you_changed}", own_place)
    uses_it = [
        each
        for each in differentiated
        if changed_while_running(lambda each=each: each[0](dict(each[1])))  # type: ignore[misc]
    ]
    if uses_it:
        found = worst_of(finite_differences(*each) for each in uses_it)
        state: State = "changed" if found.is_right else "failed"
        its_gradient = f"its gradient is {'' if found.is_right else 'not '}that of its value"
        return Verdict(state, f"{you_changed}; {finding.text}; {its_gradient}, {found.text}", place)
    learned, name, executed = _learned(fresh, place)
    if executed.isdisjoint(changed):
        return Verdict("changed", f"{you_changed}; {finding.text}", place)
    state, can = ("changed", "can") if learned.is_right else ("failed", "cannot")
    text = f"{you_changed}; {finding.text}; one batch {can} be learned with {name}: {learned.text}"
    return Verdict(state, text, place)


def listed(names: list[str]) -> str:
    """Formulas by their files: `core/activations.py: silu, gelu and core/rope.py: apply_rotary`."""
    files: dict[str, list[str]] = {}
    for name in names:
        file, _, formula = name.partition(":")
        files.setdefault(file, []).append(formula)
    return " and ".join(f"core/{file}: {', '.join(formulas)}" for file, formulas in files.items())


@lru_cache(maxsize=1)
def _learned(subject: Subject, place: str) -> tuple[Finding, str, frozenset[str]]:
    """What comes of one batch with the config's optimizer, or with one that a file has a part in; its name; and which
    changed formulas that executes."""
    names = [name for name, kind in OPTIMIZERS.items() if place in map(file_of, kind.__mro__)]
    own = subject.config.optim.name
    name = own if own in names or not names else names[0]
    findings: list[Finding] = []
    executed = changed_while_running(lambda: findings.append(learn_one_batch(subject, name)))
    return findings[0], name, frozenset(executed)
