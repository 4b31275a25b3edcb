"""Charts as data for the page's template: paths, ticks and labels, bounded in size however long the run was."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from operator import itemgetter
from typing import NamedTuple

from bittygpt.report.axes import SIZE, Axis, axis_for, label
from bittygpt.terminal.baselines import BaselineLoss
from bittygpt.tracking.labels import spread_labels

BUCKETS = 300  # of a line, along its chart; each keeps its lowest and its highest point
MOST_DOTS = 60  # a line of more points has no dot at each
LABEL_HEIGHT = 0.062  # of a chart, that two labels need
COLOURS = 8
PATTERNS = 5  # of dashes, so that the lines of baselines can be told apart
MARK_WIDTH, MARK_ENDS = 0.14, 0.86  # of a chart: what a mark's name needs, and where the last one may stand

Points = Sequence[tuple[float, float]]


@dataclass(frozen=True)
class Series:
    """A line: (x, y) in the order of x, NaN for a gap. `colour` counts from 0; `style`: line, faint or dashed.

    `label` stands beside its end; without one it is not named.
    """

    name: str
    points: Points
    colour: int = 0
    style: str = "line"
    has_dots: bool = False
    label: str = ""


@dataclass(frozen=True)
class Mark:
    """An upright line where something happened; `name` stands at its top, where there is room."""

    x: float
    name: str
    text: str
    kind: str


@dataclass(frozen=True)
class DrawnLine:
    """A series as SVG paths, and what the page needs to name it."""

    series: Series
    path: str
    dots: str


class Label(NamedTuple):
    """A name on the right: where it stands, the end of its own line, text, and the class of its colour or dashes."""

    place: float
    own: float
    text: str
    kind: str


@dataclass(frozen=True)
class Chart:
    """A picture: what the template needs, places in percent of the plot, from its top and left."""

    key: str
    title: str
    unit: str
    x_name: str
    description: str
    x: Axis
    y: Axis
    lines: list[DrawnLine]
    baselines: list[tuple[float, str]]
    marks: list[tuple[float, Mark]]
    x_ticks: list[tuple[float, str]]
    y_ticks: list[tuple[float, str]]
    right_ticks: list[tuple[float, str]] = field(default_factory=list)
    right_unit: str = ""
    labels: list[Label] = field(default_factory=list)


def draw_chart(
    key: str,
    title: str,
    unit: str,
    series: Sequence[Series],
    *,
    x_name: str = "step",
    baselines: Sequence[BaselineLoss] = (),
    marks: Sequence[Mark] = (),
    right: tuple[float, str] | None = None,
    y: Axis | None = None,
    from_zero: bool = False,
    may_be_log: bool = False,
    most: int = 5,
) -> Chart:
    """Lay out a chart.

    Args:
        right: factor and unit of a second scale, on the right: its numbers are those on the left times the factor.
        most: labels on the scales at the sides.
        y: the axis, by default one on which all points and baselines have room.
    """
    values = [value for line in series for _, value in line.points]
    y = y or axis_for(
        [*values, *(baseline.loss for baseline in baselines)], from_zero=from_zero, may_be_log=may_be_log
    )
    xs = [x for line in series for x, _ in line.points]
    low, high = min(xs, default=0), max(xs, default=1)
    low = 0 if 0 < low < 0.1 * high else low
    x = Axis(low, high) if high > low else Axis(low - 0.5, low + 0.5)
    x_ticks = x.ticks(5) if high > low else [(0.5, label(low))]
    # by the place among all of them: the same dashes in every chart
    dashes = [(each, f"baseline p{number % PATTERNS}") for number, each in enumerate(baselines)]
    shown = [(each, kind) for each, kind in dashes if y.low <= each.loss <= y.high]
    right_ticks = []
    if right is not None:
        scale = Axis(y.low * right[0], y.high * right[0], y.is_log)
        right_ticks = [(100 - 100 * place, text) for place, text in scale.ticks(most)]
    return Chart(
        key=key,
        title=title,
        unit=unit,
        x_name=x_name,
        description=" ".join(_in_words(line) for line in series if line.style != "faint"),
        x=x,
        y=y,
        lines=[_draw(line, x, y) for line in series],
        baselines=[(100 - 100 * y.place(each.loss), kind) for each, kind in shown],
        marks=[(100 * x.place(mark.x), mark) for mark in _apart(marks, x)],
        x_ticks=[(100 * place, text) for place, text in x_ticks],
        y_ticks=[(100 - 100 * place, text) for place, text in y.ticks(most)],
        right_ticks=right_ticks,
        right_unit=right[1] if right else "",
        labels=_labels(series, shown, y),
    )


def _draw(line: Series, x: Axis, y: Axis) -> DrawnLine:
    points = thinned(line.points)
    path, dots, is_down = [], [], False
    for px, py in points:
        if not math.isfinite(py):
            is_down = False
            continue
        place = f"{SIZE * x.place(px):.0f} {SIZE * (1 - y.place(py)):.0f}"
        path.append(f"{'L' if is_down else 'M'}{place}")
        dots.append(f"M{place}h0")
        is_down = True
    has_dots = len(dots) == 1 or (line.has_dots and len(dots) <= MOST_DOTS)
    return DrawnLine(line, "".join(path), "".join(dots) if has_dots else "")


def thinned(points: Points, buckets: int = BUCKETS) -> Points:
    """At most twice `buckets` points that look the same: of each bucket the lowest and the highest, and the ends."""
    if len(points) <= 2 * buckets:
        return points
    out = [points[0]]
    for number in range(buckets - 1):
        first, last = (1 + (len(points) - 2) * n // (buckets - 1) for n in (number, number + 1))
        bucket = [point for point in points[first:last] if math.isfinite(point[1])]
        if bucket:
            height = itemgetter(1)
            ends = (min(bucket, key=height), max(bucket, key=height))
            out += sorted(set(ends))
        else:
            out.append(points[first])
    return [*out, points[-1]]


def _apart(marks: Sequence[Mark], x: Axis) -> list[Mark]:
    """Those within the chart; the names of those that would stand in each other's way are left out."""
    out: list[Mark] = []
    free_from = 0.0
    for mark in sorted(marks, key=lambda mark: mark.x):
        if x.low <= mark.x <= x.high:
            is_free = free_from <= x.place(mark.x) <= MARK_ENDS
            out.append(mark if is_free else Mark(mark.x, "", mark.text, mark.kind))
            free_from = x.place(mark.x) + MARK_WIDTH if is_free else free_from
    return out


def _labels(series: Sequence[Series], baselines: Sequence[tuple[BaselineLoss, str]], y: Axis) -> list[Label]:
    """The names on the right, from the lowest line to the highest, apart from each other."""
    wanted = [(y.place(each.loss), f"{each.name} {each.loss:.2f}", kind) for each, kind in baselines]
    for line in series:
        ends = [value for _, value in line.points if math.isfinite(value)]
        if line.label and ends:
            wanted.append((min(1.0, max(0.0, y.place(ends[-1]))), line.label, f"c{line.colour % COLOURS}"))
    wanted.sort()
    places = spread_labels([own for own, *_ in wanted], LABEL_HEIGHT)
    return [
        Label(100 - 100 * place, 100 - 100 * own, text, kind)
        for place, (own, text, kind) in zip(places, wanted, strict=True)
    ]


def _in_words(line: Series) -> str:
    finite = [point for point in line.points if math.isfinite(point[1])]
    if not finite:
        return f"{line.name}: nothing yet."
    (x0, y0), (x1, y1) = finite[0], finite[-1]
    return f"{line.name}: {y0:.4g} at {x0:,.6g}, {y1:.4g} at {x1:,.6g}."
