"""Which charts a run has, and which several runs have together."""

import math
from collections.abc import Callable, Sequence
from typing import Any

from bittygpt.report.axes import axis_for
from bittygpt.report.chart import Chart, Mark, Series, draw_chart
from bittygpt.report.record import RunRecord, is_number
from bittygpt.terminal.loss_plot import smoothed

NATS, BITS = "nats per token", "bits per byte"
MOST_MARKS = 60
TAIL = 4  # the second loss chart leaves out a quarter of the run,
CLOSER = 0.6  # if the rest needs less than this share of the height

By = Callable[[dict[str, Any]], float]


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
        Series("training, each step", raw, 0, "faint"),
        Series("training, smoothed", smooth, 0, label=f"training {smooth[-1][1]:.3f}" if smooth else ""),
    ]
    if val:
        series.append(Series("validation", val, 1, has_dots=True, label=f"validation {val[-1][1]:.3f}"))
    right = (run.bits_per_nat, BITS) if run.bits_per_nat else None
    marks = marks_of(run)
    charts = [draw_chart("loss", "Loss", NATS, series, rungs=run.ladder, marks=marks, right=right)]
    if closer := _closer(charts[0], series):
        first, tail = closer
        seen = [p[1] for line in tail if line.style != "faint" for p in line.points]
        title = f"Loss from step {first:,.0f} on"
        charts.append(
            draw_chart(
                "closer", title, NATS, tail, rungs=run.ladder, marks=marks, right=right, y=axis_for(seen)
            )
        )
    lr = [Series("learning rate", points(run.steps, "lr"), 2)]
    norm = [Series("gradient norm", points(run.steps, "grad_norm"), 3)]
    speed = [Series("tokens per second", points(run.steps, "tokens_per_second"), 5)]
    charts += [
        draw_chart("lr", "Learning rate", "", lr, from_zero=True),
        draw_chart("grad_norm", "Gradient norm", "before clipping", norm, marks=marks, may_be_log=True),
        draw_chart("speed", "Throughput", "tokens per second", speed, from_zero=True),
    ]
    return charts


def _closer(whole: Chart, series: Sequence[Series]) -> tuple[float, list[Series]] | None:
    """The series from a quarter of the run on, and where that is; None where it would show nothing new."""
    first = math.ceil(whole.x.low + (whole.x.high - whole.x.low) / TAIL)
    tail = [
        Series(s.name, [p for p in s.points if p[0] >= first], s.colour, s.style, s.has_dots, s.label)
        for s in series
    ]
    seen = [p[1] for line in tail if line.style != "faint" for p in line.points]
    if len(seen) < 8 or max(seen) - min(seen) > CLOSER * (whole.y.high - whole.y.low):
        return None
    return first, tail


def marks_of(run: RunRecord) -> list[Mark]:
    """Where the run was resumed, went back or had to take less at once."""
    marks = []
    for event in run.history:
        if event["event"] == "resume":
            marks.append(Mark(event["step"], f"resumed after step {event['step']:,}", "resume"))
        elif event["event"] == "rewind":
            marks.append(Mark(event["step"], f"went back to step {event['step']:,}", "rewind"))
        elif event["event"] == "micro_batch":
            marks.append(Mark(event["step"], f"smaller micro-batches from step {event['step']:,}", "resume"))
    return marks[-MOST_MARKS:]


def charts_of_several(runs: Sequence[RunRecord], names: Sequence[str]) -> list[Chart]:
    """The curves of several runs over each other, in nats, or in bits per byte where vocabularies differ."""
    rates = [run.bits_per_nat for run in runs]
    known = [rate for rate in rates if rate is not None]
    in_bits = len(known) == len(runs) and max(known) > 1.001 * min(known)
    unit = BITS if in_bits else NATS
    factors = [rate if in_bits and rate is not None else 1.0 for rate in rates]
    sizes = {
        run.steps[-1]["tokens"] / run.steps[-1]["step"]
        for run in runs
        if run.steps and run.steps[-1].get("tokens")
    }
    per_step = [
        run.steps[-1]["tokens"] / run.steps[-1]["step"] if run.steps and run.steps[-1].get("tokens") else 1.0
        for run in runs
    ]
    by_tokens = len(sizes) > 1
    x_name = "tokens" if by_tokens else "step"
    same_ladder = not in_bits and all(run.ladder == runs[0].ladder for run in runs)
    rungs = runs[0].ladder if same_ladder else []

    def place(index: int) -> By:
        return lambda event: event["step"] * (per_step[index] if by_tokens else 1)

    def lines(
        make: Callable[[int, RunRecord], list[tuple[float, float]]], digits: str, dots: bool = False
    ) -> list[Series]:
        found = [(i, make(i, run)) for i, run in enumerate(runs)]
        return [
            Series(
                names[i], line, i, "line" if i < 8 else "dashed", dots, f"{names[i]} {_last(line):{digits}}"
            )
            for i, line in found
            if line
        ]

    val = lines(lambda i, run: points(run.evals, "val_loss", place(i), factors[i]), ".3f", dots=True)
    timed = lines(lambda i, run: points(run.evals, "val_loss", _minutes, factors[i]), ".3f", dots=True)
    train = lines(lambda i, run: smooth_losses(run, place(i), factors[i]), ".3f")
    charts = [draw_chart("loss", "Validation loss", unit, val, x_name=x_name, rungs=rungs)] if val else []
    charts.append(draw_chart("train", "Training loss, smoothed", unit, train, x_name=x_name, rungs=rungs))
    if timed:
        charts.append(draw_chart("timed", "Validation loss by time", unit, timed, x_name="minutes"))
    return charts + [
        draw_chart(
            key,
            title,
            of,
            lines(lambda i, run, field=field: points(run.steps, field, place(i)), ".3g"),  # type: ignore[misc]
            x_name=x_name,
            from_zero=key != "grad_norm",
            may_be_log=key == "grad_norm",
        )
        for key, title, of, field in (
            ("lr", "Learning rate", "", "lr"),
            ("grad_norm", "Gradient norm", "before clipping", "grad_norm"),
            ("speed", "Throughput", "tokens per second", "tokens_per_second"),
        )
    ]


def _minutes(event: dict[str, Any]) -> float:
    return float(event["elapsed"]) / 60


def _last(line: Sequence[tuple[float, float]]) -> float:
    return next((value for _, value in reversed(line) if math.isfinite(value)), math.nan)
