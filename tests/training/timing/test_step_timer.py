"""What is measured of a run, and how many steps fit into a time."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bittygpt.training.timing.step_timer import FEWEST, StepTimer, steps_within


class Clock:
    """One that is set."""

    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now


def paced(*seconds):
    """A timer after steps of these lengths."""
    timer = StepTimer(clock := Clock())
    for each in seconds:
        timer.begin_step()
        clock.now += each
    timer.begin_step()
    return timer, clock


def test_the_first_step_does_not_count_once_there_are_others():
    assert StepTimer(Clock()).step_seconds() is None
    assert paced(50)[0].step_seconds() == 50
    assert paced(50, 1, 3)[0].step_seconds() == 2
    assert not paced(50, 1, 3)[0].is_settled
    assert paced(50, 1, 3, 2)[0].is_settled


def test_the_speed_is_that_of_late_but_not_of_a_moment():
    timer, _ = paced(*[1.0] * 100, *[2.0] * 30)
    assert timer.step_seconds() == 2
    timer.recent_seconds = 2 * 30 + 30
    assert timer.step_seconds() == pytest.approx((30 * 2 + 30) / 60)
    one_stall, _ = paced(*[1.0] * 100, 41.0)
    assert one_stall.step_seconds() == pytest.approx((FEWEST - 1 + 41) / FEWEST)


def test_a_resumed_run_goes_by_what_it_knew_until_it_knows_better():
    timer, clock = StepTimer(Clock()), None
    timer.known_before = 7.0
    assert (timer.step_seconds(), timer.is_settled) == (7.0, True)
    clock = timer.clock
    for _ in range(5):
        timer.begin_step()
        clock.now += 1
    assert timer.step_seconds() == 1


def test_a_pause_is_no_part_of_a_step_and_the_last_ones_tell_of_the_next():
    timer, clock = paced(*[1.0] * 5)
    timer.expect("save", 10, at_end=True, seconds=9.0)
    assert timer.pause_seconds("save") == timer.end_seconds() == 9.0
    for seconds in (100.0, 2.0, 3.0, 4.0):
        with timer.pause("save"):
            clock.now += seconds
        with timer.pause("of no known kind"):
            clock.now += 5
        clock.now += 1
        timer.begin_step()
    assert timer.pause_seconds("save") == 3.0  # the mean of three
    assert timer.pause_seconds("unheard of") == 0.0
    assert timer.step_seconds() == 1.0


def test_a_pause_within_a_pause_is_no_part_of_it():
    timer, clock = paced(*[1.0] * 5)
    for kind in ("evaluation", "drawing"):
        timer.expect(kind, 10, at_end=True, seconds=9.0)
    clock.now += 1
    with timer.pause("evaluation"):
        clock.now += 2
        with timer.pause("drawing"):
            clock.now += 4
        clock.now += 1
    timer.begin_step()
    assert (timer.pause_seconds("evaluation"), timer.pause_seconds("drawing")) == (3.0, 4.0)
    assert timer.step_seconds() == 1.0


@pytest.mark.parametrize(("slower", "expected"), [(1.5, 6.0), (0.8, 3.2), (50, 16.0)])
def test_a_pause_is_expected_to_be_slower_as_steps_are_but_not_as_a_stall(slower, expected):
    timer, clock = paced(*[1.0] * 30)
    timer.expect("evaluation", 10, at_end=True, seconds=0.0)
    with timer.pause("evaluation"):
        clock.now += 4
    for _ in range(FEWEST + 1):
        clock.now += slower
        timer.begin_step()
    assert timer.pause_seconds("evaluation") == pytest.approx(expected)


@given(
    st.floats(0, 300),
    st.integers(1, 40),
    st.floats(0.5, 20),
    st.lists(st.tuples(st.integers(1, 12), st.floats(0, 30)), max_size=3),
)
def test_steps_that_fit_by_walking_along(seconds, first, each, pauses):
    used, walked = 0.0, 0
    for step in itertools.count(first):
        used += each
        if used > seconds:
            break
        walked += 1
        used += sum(duration for every, duration in pauses if step % every == 0)
    assert abs(steps_within(seconds, first, each, pauses) - walked) <= (
        1 if abs(used - seconds) < 1e-6 else 0
    )
