"""When a text is due, and that its time counts for no rate."""

from types import SimpleNamespace

import pytest

from bittygpt.training.events import SampleDueReport
from bittygpt.training.loop import due_samples


@pytest.mark.parametrize(
    ("every", "steps"), [(None, []), (1, [1, 2, 3, 4, 5, 6, 7]), (3, [3, 6, 7]), (7, [7]), (100, [7])]
)
def test_texts_are_due_every_so_many_steps_and_at_the_end(every, steps):
    restarted = []
    meter = SimpleNamespace(restart=restarted.append)
    due = [report for step in range(1, 8) for report in due_samples(step, step == 7, every, meter)]
    assert due == [SampleDueReport(step) for step in steps]
    assert restarted == steps


def test_the_rate_is_counted_anew_only_after_the_text():
    restarted = []
    reports = due_samples(3, False, 3, SimpleNamespace(restart=restarted.append))
    next(reports)
    assert restarted == []
    assert list(reports) == []
    assert restarted == [3]
