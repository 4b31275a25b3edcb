"""Names beside lines."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bittygpt.tracking.labels import spread_labels


@given(st.lists(st.floats(0, 1), max_size=12).map(sorted), st.sampled_from([0.01, 0.05]))
def test_labels_are_apart_in_order_and_within(places, height):
    found = spread_labels(places, height)
    assert len(found) == len(places)
    for below, above in itertools.pairwise(found):
        assert above - below >= height - 1e-9
    assert all(-1e-9 <= place <= 1 + 1e-9 for place in found)


@given(st.lists(st.floats(0.3, 0.7), min_size=1, max_size=4).map(sorted))
def test_no_other_places_are_nearer_to_what_is_wanted(places):
    """Moving any block of neighbours up or down a little never helps."""

    def cost(found):
        return sum((a - b) ** 2 for a, b in zip(found, places, strict=True))

    found = spread_labels(places, 0.05)
    for first, last in itertools.combinations(range(len(found) + 1), 2):
        for move in (-1e-3, 1e-3):
            moved = [place + move * (first <= i < last) for i, place in enumerate(found)]
            if all(b - a >= 0.05 for a, b in itertools.pairwise(moved)):
                assert cost(moved) >= cost(found) - 1e-12


def test_two_that_touch_part_in_the_middle():
    assert spread_labels([0.5, 0.5], 0.1) == pytest.approx([0.45, 0.55])
    assert spread_labels([0.2, 0.9], 0.1) == [0.2, 0.9]
    assert spread_labels([], 0.1) == []
