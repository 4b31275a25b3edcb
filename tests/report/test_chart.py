"""Lines of a chart: bounded, whole, with gaps where there is nothing."""

import itertools
import math
import re

import pytest

from bittygpt.report.axes import Axis
from bittygpt.report.chart import Mark, Series, draw_chart, thinned
from bittygpt.terminal.baselines import BaselineLoss


def test_a_long_line_keeps_its_ends_and_its_extremes_and_loses_its_length():
    points = [(x, math.sin(x / 900)) for x in range(100_000)]
    points[54_321] = (54_321, 9.0)
    points[65_432] = (65_432, -9.0)
    short = thinned(points)
    assert len(short) <= 600
    assert (short[0], short[-1]) == (points[0], points[-1])
    assert {(54_321, 9.0), (65_432, -9.0)} <= set(short)
    assert [x for x, _ in short] == sorted(x for x, _ in short)
    assert thinned(points[:600]) == points[:600]


def test_a_gap_is_a_gap_also_in_a_long_line():
    line = draw_chart("k", "t", "u", [Series("s", [(0, 1.0), (1, math.nan), (2, 1.0), (3, 2.0)])]).lines[0]
    assert re.findall("[ML]", line.path) == ["M", "M", "L"]
    assert "nan" not in line.path
    long = [(x, math.nan if 4000 < x < 6000 else 1.0) for x in range(10_000)]
    assert draw_chart("k", "t", "u", [Series("s", long)]).lines[0].path.count("M") == 2


def test_places_are_where_the_values_are():
    chart = draw_chart(
        "k", "t", "u", [Series("s", [(0, 0.0), (10, 4.0)])], baselines=[BaselineLoss("half", 2.0)]
    )
    (x0, y0), (x1, y1) = re.findall(r"(\d+) (\d+)", chart.lines[0].path)
    assert (int(x0), int(x1)) == (0, 10_000)
    assert int(y0) > int(y1), "up is more"
    assert chart.baselines[0][0] == 50.0
    assert [round((int(y0) + int(y1)) / 2, -1)] == [5000]


def test_one_point_is_a_dot_and_none_is_no_error():
    chart = draw_chart(
        "k", "t", "u", [Series("one", [(1, 3.0)]), Series("none", []), Series("nan", [(1, math.nan)])]
    )
    assert [bool(line.dots) for line in chart.lines] == [True, False, False]
    assert "none: nothing yet." in chart.description
    assert chart.x_ticks == [(50.0, "1")]


def test_labels_stand_apart_and_within_and_marks_do_not_write_over_each_other():
    baselines = [BaselineLoss(str(i), 2 + i / 1000) for i in range(8)]
    chart = draw_chart(
        "k", "t", "u", [Series("s", [(0, 9.0), (100, 2.0)], label="s 2.0")], baselines=baselines
    )
    places = [label.place for label in chart.labels]
    assert len(places) == 9
    assert all(0 <= place <= 100 for place in places)
    assert min(a - b for a, b in itertools.pairwise(places)) > 6
    marks = [Mark(x, "resumed", f"resumed at {x}", "resume") for x in (10, 11, 40, 99)]
    drawn = draw_chart("k", "t", "u", [Series("s", [(0, 1.0), (100, 2.0)])], marks=marks).marks
    assert [mark.name for _, mark in drawn] == ["resumed", "", "resumed", ""]
    assert [round(place) for place, _ in drawn] == [10, 11, 40, 99]


def test_a_label_stands_at_its_own_line_where_there_is_room():
    """As a first version did not have it: there "trigram" stood beside the bigram's line."""
    losses = {"uniform": 7.6, "unigram": 5.4, "bigram": 4.25, "trigram": 4.22, "xz": 3.0}
    baselines = [BaselineLoss(*each) for each in losses.items()]
    chart = draw_chart(
        "k", "t", "u", [Series("s", [(0, 7.6), (100, 2.5)], label="s 2.5")], baselines=baselines
    )
    for label in chart.labels:
        is_crowded = label.text.startswith(("bigram", "trigram"))
        assert abs(label.place - label.own) == pytest.approx(0, abs=3.2 if is_crowded else 1e-9), label
    assert len({label.kind for label in chart.labels}) == 6, "dashes of their own"


def test_a_baseline_has_the_same_dashes_in_every_chart():
    """Also in one that shows only some of them, such as the closer look at a run's end."""
    baselines = [BaselineLoss("uniform", 9.0), BaselineLoss("bigram", 3.0)]
    line = [Series("s", [(0, 2.0), (10, 4.0)])]
    whole = draw_chart("k", "t", "u", line, baselines=baselines)
    closer = draw_chart("k", "t", "u", line, baselines=baselines, y=Axis(1.0, 5.0))
    assert [kind for _, kind in whole.baselines] == ["baseline p0", "baseline p1"]
    assert [kind for _, kind in closer.baselines] == ["baseline p1"]
    assert [label.kind for label in closer.labels] == ["baseline p1"]


def test_a_second_scale_is_the_first_times_its_factor():
    chart = draw_chart("k", "t", "u", [Series("s", [(0, 1.0), (9, 3.0)])], right=(0.5, "half"))
    right, left = dict((t, p) for p, t in chart.right_ticks), dict((t, p) for p, t in chart.y_ticks)
    assert abs(right["1.00"] - left["2.0"]) < 1e-6
