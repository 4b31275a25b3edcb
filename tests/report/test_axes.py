"""Round numbers on axes."""

import math

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from bittygpt.report.axes import Axis, axis_for, label


@pytest.mark.parametrize(
    ("axis", "labels"),
    [
        (Axis(0, 2400), ["0", "500", "1,000", "1,500", "2,000"]),
        (Axis(0, 100_000), ["0", "20k", "40k", "60k", "80k", "100k"]),
        (Axis(0, 10_500), ["0k", "2.5k", "5.0k", "7.5k", "10.0k"]),
        (Axis(1.61, 2.29), ["1.8", "2.0", "2.2"]),
        (Axis(0, 3e-4), ["0", "1e-4", "2e-4", "3e-4"]),
        (Axis(0, 0.006), ["0", "0.002", "0.004", "0.006"]),
        (Axis(0, 3_700_000), ["0", "1M", "2M", "3M"]),
        (Axis(0.1, 100, is_log=True), ["0.1", "1", "10", "100"]),
    ],
)
def test_ticks_are_numbers_that_a_person_would_choose(axis, labels):
    got = [text for _, text in axis.ticks(5)]
    assert got == [text.replace("0k", "0k") if text != "0k" else "0" for text in labels]


@example(values=[4.0, 2.2250738585072014e-308], from_zero=False, may_be_log=True, most=2)
@given(
    st.lists(st.floats(-1e9, 1e9), min_size=1, max_size=20),
    st.booleans(),
    st.booleans(),
    st.integers(2, 9),
)
def test_every_value_has_room_and_ticks_are_few_and_within(values, from_zero, may_be_log, most):
    axis = axis_for(values, from_zero=from_zero, may_be_log=may_be_log)
    assert all(-1e-9 <= axis.place(value) <= 1 + 1e-9 for value in values)
    ticks = axis.ticks(most)
    assert all(-1e-6 <= place <= 1 + 1e-6 for place, _ in ticks)
    assert len(ticks) <= most + 1


def test_what_is_not_finite_takes_no_room():
    assert axis_for([math.nan, math.inf, 1.0, 3.0]) == axis_for([1.0, 3.0])
    assert axis_for([]).high > axis_for([]).low
    assert axis_for([5.0]).place(5.0) == pytest.approx(0.5)


def test_labels():
    assert [label(v) for v in (0.25, 1500, 20_000, 1.5e6, 3e-4)] == ["0.25", "1,500", "20k", "1.5M", "3e-4"]
