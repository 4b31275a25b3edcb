"""Which charts several runs have together: their curves over each other."""

import math
from collections.abc import Callable, Sequence
from typing import Any

from bittygpt.report.chart import COLOURS, Chart, Points, Series, draw_chart
from bittygpt.report.charts import BITS, NATS, SMALL, By, draw_small, points, smooth_losses
from bittygpt.report.record import RunRecord


def charts_of_several(runs: Sequence[RunRecord], names: Sequence[str]) -> list[Chart]:
    """The curves of several runs: losses in nats, or in bits per byte where nats do not compare.

    They lie along the steps, or along the tokens seen where the runs' steps are not equally large.
    """
    factors, unit = _units(runs)
    places, x_name = _places(runs)
    same_baselines = unit == NATS and all(run.baselines == runs[0].baselines for run in runs)
    baselines = runs[0].baselines if same_baselines else []

    def lines(make: Callable[[int], Points], dots: bool = False, is_named: bool = True) -> list[Series]:
        found = [(i, make(i)) for i in range(len(runs))]
        return [_series(i, names[i], line, dots, is_named) for i, line in found if line]

    validation = lines(lambda i: points(runs[i].evals, "val_loss", places[i], factors[i]), dots=True)
    by_time = lines(lambda i: points(runs[i].evals, "val_loss", _minutes, factors[i]), dots=True)
    training = lines(lambda i: smooth_losses(runs[i], places[i], factors[i]))
    wanted = [
        ("loss", "Validation loss", validation, x_name, baselines),
        ("train", "Training loss, smoothed", training, x_name, baselines),
        ("timed", "Validation loss by time", by_time, "minutes", []),
    ]
    charts = [
        draw_chart(key, title, unit, series, x_name=along, baselines=baselines, most=8)
        for key, title, series, along, baselines in wanted
        if series
    ]
    for small in SMALL:
        series = lines(lambda i, field=small.field: points(runs[i].steps, field, places[i]), is_named=False)  # type: ignore[misc]
        charts.append(draw_small(small, series, x_name))
    return charts


def _series(index: int, name: str, line: Points, dots: bool, is_named: bool) -> Series:
    last = next((value for _, value in reversed(line) if math.isfinite(value)), math.nan)
    label = f"{last:.3f} {name}" if is_named else name  # a long name is cut at its end
    return Series(name, line, index, "line" if index < COLOURS else "dashed", dots, label)


def _units(runs: Sequence[RunRecord]) -> tuple[list[float], str]:
    """What each run's losses are to be multiplied with, and their unit then.

    A token of a larger vocabulary is more text, so that its nats are no measure beside those of a smaller one.
    """
    rates = [run.bits_per_nat for run in runs]
    known = [rate for rate in rates if rate is not None]
    if len(known) == len(runs) and max(known) > 1.001 * min(known):
        return known, BITS
    return [1.0] * len(runs), NATS


def _places(runs: Sequence[RunRecord]) -> tuple[list[By], str]:
    """Where each run's events lie, and what that is called."""
    lasts = [run.steps[-1] if run.steps else {} for run in runs]
    sizes = [last["tokens"] / last["step"] if last.get("tokens") and last["step"] else None for last in lasts]
    known = [size for size in sizes if size is not None]
    if len(known) < len(runs) or len(set(known)) == 1:
        known, name = [1.0] * len(runs), "step"
    else:
        name = "tokens"
    return [lambda event, size=size: event["step"] * size for size in known], name  # type: ignore[misc]


def _minutes(event: dict[str, Any]) -> float:
    return float(event["elapsed"]) / 60
