"""Which charts a run has."""

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from bittygpt.report.axes import axis_for
from bittygpt.report.chart import Chart, Mark, Series, draw_chart
from bittygpt.report.record import RunRecord, is_number
from bittygpt.tracking.loss_plot import smoothed

NATS, BITS = "nats per token", "bits per byte"
MOST_MARKS = 60
TAIL = 4  # the second loss chart leaves out a quarter of the run,
CLOSER = 0.6  # if the rest needs less than this share of the height

By = Callable[[dict[str, Any]], float]


class Small(NamedTuple):
    """A chart below the losses: which field of the steps, and whether it is there to see trouble come."""

    field: str
    title: str
    unit: str
    colour: int
    is_of_trouble: bool


SMALL = (
    Small("lr", "Learning rate", "", 2, False),
    Small("grad_norm", "Gradient norm", "before clipping", 3, True),
    Small("tokens_per_second", "Throughput", "tokens per second", 5, False),
)


def by_step(event: dict[str, Any]) -> float:
    """Where an event lies along the run."""
    return float(event["step"])


def points(
    events: Sequence[dict[str, Any]], key: str, by: By = by_step, factor: float = 1
) -> list[tuple[float, float]]:
    """(x, value) of each event; NaN where it has none."""
    return [(by(e), e[key] * factor if is_number(e.get(key)) else math.nan) for e in events]


def smooth_losses(run: RunRecord, by: By = by_step, factor: float = 1) -> list[tuple[float, float]]:
    """The training loss, calmed as in loss.png."""
    xs = [by(event) for event in run.steps]
    return list(zip(xs, (factor * loss for loss in smoothed([e["loss"] for e in run.steps])), strict=True))


def charts_of(run: RunRecord) -> list[Chart]:
    """The charts of one run: its losses first."""
    raw, smooth, val = points(run.steps, "loss"), smooth_losses(run), points(run.evals, "val_loss")
    series = [
        Series("training, single steps", raw, 0, "faint"),
        Series("training, smoothed", smooth, 0, label=f"training {smooth[-1][1]:.3f}" if smooth else ""),
    ]
    if val:
        series.append(Series("validation", val, 1, has_dots=True, label=f"validation {val[-1][1]:.3f}"))
    right = (run.bits_per_nat, BITS) if run.bits_per_nat else None
    marks = marks_of(run)
    charts = [
        draw_chart("loss", "Loss", NATS, series, baselines=run.baselines, marks=marks, right=right, most=8)
    ]
    if closer := _closer(charts[0], series):
        first, tail = closer
        seen = [value for line in tail for value in _typical(line)]
        title = f"Loss from step {first:,.0f} on"
        charts.append(
            draw_chart(
                "closer",
                title,
                NATS,
                tail,
                baselines=run.baselines,
                marks=marks,
                right=right,
                y=axis_for(seen),
                most=8,
            )
        )
    for small in SMALL:
        line = Series(small.title.lower(), points(run.steps, small.field), small.colour)
        charts.append(draw_small(small, [line], "step", marks))
    return charts


def draw_small(small: Small, series: Sequence[Series], x_name: str, marks: Sequence[Mark] = ()) -> Chart:
    """One of the charts below the losses."""
    return draw_chart(
        small.field,
        small.title,
        small.unit,
        series,
        x_name=x_name,
        marks=marks if small.is_of_trouble else (),
        from_zero=not small.is_of_trouble,
        may_be_log=small.is_of_trouble,
    )


def _closer(whole: Chart, series: Sequence[Series]) -> tuple[float, list[Series]] | None:
    """The series from a quarter of the run on, and where that is; None where it would show nothing new."""
    first = math.floor(whole.x.low + (whole.x.high - whole.x.low) / TAIL)
    tail = [
        Series(s.name, [p for p in s.points if p[0] >= first], s.colour, s.style, s.has_dots, s.label)
        for s in series
    ]
    seen = [p[1] for line in tail if line.style != "faint" for p in line.points]
    if len(seen) < 8 or max(seen) - min(seen) > CLOSER * (whole.y.high - whole.y.low):
        return None
    return first, tail


def _typical(line: Series) -> list[float]:
    """The values that a chart must have room for: of the single steps not the wildest."""
    values = sorted(value for _, value in line.points if math.isfinite(value))
    out = len(values) // 50 if line.style == "faint" else 0
    return values[out : len(values) - out]


def marks_of(run: RunRecord) -> list[Mark]:
    """Where the run was resumed, went back or had to take less at once."""
    marks = []
    for event in run.history:
        if event["event"] == "resume":
            marks.append(Mark(event["step"], "resumed", f"resumed after step {event['step']:,}", "resume"))
        elif event["event"] == "rewind":
            marks.append(Mark(event["step"], "went back", f"went back to step {event['step']:,}", "rewind"))
        elif event["event"] == "micro_batch":
            marks.append(
                Mark(
                    event["step"],
                    "micro-batch",
                    f"smaller micro-batches from step {event['step']:,}",
                    "resume",
                )
            )
    return marks[-MOST_MARKS:]
