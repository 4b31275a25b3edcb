"""Findings, and what is told of an error: one line and a place in the code that was checked, not in a check's own."""

import math

import pytest
import torch

from bittygpt.checks.finding import Check, Finding, NotChecked, counted, difference, equal, worst_of
from bittygpt.checks.outcome import PACKAGE, describe_error
from bittygpt.checks.runner import THEMES, make
from bittygpt.core import TransformerLM
from bittygpt.terminal.checks import PROMISE


def test_no_number_is_not_right_and_is_the_worst():
    assert not Finding("", math.nan, 1.0).is_right
    assert Finding("", 1.0, 1.0).is_right
    nan, one = torch.tensor([math.nan]), torch.ones(1)
    assert not equal({"a": (one, one), "b": (nan, one), "c": (one * 2, one)}).is_right
    assert math.isnan(worst_of([Finding("", 9.0, 1.0), Finding("", math.nan, 1.0)]).value)


def test_every_promise_can_be_printed_anywhere_and_has_a_file():
    checks = [check for checks in THEMES.values() for check in checks]
    assert all(check.promise.isascii() and len(check.promise) <= PROMISE for check in checks)
    assert all((PACKAGE / check.look_in).is_file() for check in checks)
    assert len({check.name for check in checks}) == len(checks)


def test_a_difference_is_a_share_of_the_largest_entry():
    assert difference(torch.tensor([100.0, 1.0]), torch.tensor([100.0, 2.0])) == pytest.approx(0.01)
    assert difference(torch.tensor([0.5]), torch.tensor([0.0])) == 0.5
    with pytest.raises(ValueError, match=r"the shape is \(1,\) and should be \(2,\)"):
        difference(torch.ones(1), torch.ones(2))
    assert counted(0, 3, "x").is_right
    assert not counted(1, 3, "x").is_right


def test_an_error_is_a_finding_with_its_place(subject):
    def too_long(checked) -> Finding:
        checked.model()(torch.zeros(1, 99, dtype=torch.long))
        raise AssertionError

    outcome = make(Check("too-long", "a text fits", "core/x.py", too_long), subject())
    assert outcome.state == "failed"
    assert outcome.found == "ValueError: 99 tokens in a context of 32"
    file, line = outcome.look_in.split(":")
    assert file == "bittygpt/core/transformer.py"
    first = TransformerLM.forward.__code__.co_firstlineno
    assert first < int(line) < first + 40
    assert outcome.as_dict()["value"] is None


def test_an_error_outside_of_the_package_is_sought_where_the_check_says():
    with pytest.raises(ZeroDivisionError) as caught:
        1 / 0  # noqa: B018
    assert describe_error(caught.value, "bittygpt/core/x.py") == (
        "ZeroDivisionError: division by zero",
        "bittygpt/core/x.py",
    )
    assert describe_error(RuntimeError("\n  first\nsecond"), "y") == ("RuntimeError: first", "y")
    assert describe_error(RuntimeError(), "y") == ("RuntimeError", "y")


def test_what_cannot_be_checked_is_skipped_and_random_numbers_are_the_checks_own(subject):
    def not_here(_checked) -> Finding:
        raise NotChecked("not here")

    assert make(Check("n", "p", "x.py", not_here), subject()).state == "skipped"
    draw = Check("n", "p", "x.py", lambda _: Finding("", torch.rand(()).item(), 1.0))
    before = torch.random.get_rng_state()
    assert make(draw, subject()).value == make(draw, subject()).value
    assert torch.equal(before, torch.random.get_rng_state())
