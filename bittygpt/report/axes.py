"""Axes: from values to places, and the round numbers that stand beside them."""

import itertools
import math
from collections.abc import Iterable
from dataclasses import dataclass

SIZE = 10_000  # units of a chart's drawing, both ways; what is drawn is stretched to the width of the page
STEPS = (1, 2, 2.5, 5, 10)
LEAST = 5e-324  # above zero


@dataclass(frozen=True)
class Axis:
    """From `low` to `high`, in equal steps or, with `is_log`, in equal ratios."""

    low: float
    high: float
    is_log: bool = False

    def place(self, value: float) -> float:
        """Where a value lies, 0 to 1."""
        if self.is_log:
            # differences of logarithms, as a quotient may be beyond all numbers
            low, high = math.log(self.low), math.log(self.high)
            return (math.log(max(value, self.low * 1e-3, LEAST)) - low) / (high - low)
        return (value - self.low) / (self.high - self.low)

    def ticks(self, most: int = 6) -> list[tuple[float, str]]:
        """Place and label of the round numbers on it, at most `most` of them (in equal steps)."""
        values = (
            _round_ratios(self.low, self.high, most)
            if self.is_log
            else _round_steps(self.low, self.high, most)
        )
        step = min((b - a for a, b in itertools.pairwise(values)), default=1.0)
        largest = max((abs(value) for value in values), default=0.0)
        return [(self.place(value), label(value, None if self.is_log else step, largest)) for value in values]


def axis_for(values: Iterable[float], *, from_zero: bool = False, may_be_log: bool = False) -> Axis:
    """An axis on which all finite values have room; `may_be_log`: where the largest is many times the smallest."""
    finite = [value for value in values if math.isfinite(value)]
    low, high = min(finite, default=0.0), max(finite, default=1.0)
    if may_be_log and low > 0 and high / low > 30:
        return Axis(low / 1.1, high * 1.1, is_log=True)
    if from_zero:
        low = min(low, 0.0)
    margin = (high - low) * 0.04 or abs(high) * 0.1 or 1.0
    return Axis(low if from_zero and low == 0 else low - margin, high + margin)


def _round_steps(low: float, high: float, most: int) -> list[float]:
    rough = (high - low) / most
    power = 10 ** math.floor(math.log10(rough))
    step = next(power * factor for factor in STEPS if power * factor >= rough * 0.999)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [number * step for number in range(first, last + 1)]


def _round_ratios(low: float, high: float, most: int) -> list[float]:
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    for factors in ((1, 2, 5), (1, 3), (1,)):
        values = [factor * 10.0**decade for decade in decades for factor in factors]
        inside = [value for value in values if low <= value <= high]
        if len(inside) <= most:
            return inside
    return inside[:: -(-len(inside) // most)]


def label(value: float, step: float | None = None, largest: float = 0.0) -> str:
    """A number as an axis has it: 0.25, 1,500, 20k, 1.5M, 3e-4.

    `step`: the distance to the next one; `largest`: of all on the axis, so that they have one unit.
    """
    size = max(abs(value), largest)
    if value and size >= 10_000:
        power, letter = next(p for p in ((1e9, "G"), (1e6, "M"), (1e3, "k")) if size >= p[0])
        return f"{_decimals(value / power, step / power if step else None)}{letter}"
    if value and (abs(value) < 1e-3 or (step is not None and step < 1e-4)):
        mantissa, exponent = f"{value:.2e}".split("e")
        return f"{float(mantissa):g}e{int(exponent)}"
    return "0" if value == 0 else _decimals(value, step)


def _decimals(value: float, step: float | None) -> str:
    if step is None:
        return f"{value:,g}" if abs(value) < 1 else f"{float(f'{value:.4g}'):,g}"
    digits = next((d for d in range(6) if math.isclose(step, round(step, d), rel_tol=1e-6)), 6)
    return f"{value:,.{digits}f}"
