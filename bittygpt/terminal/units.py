"""Formats quantities for people, and rows of them."""

from collections.abc import Sequence
from typing import NamedTuple

from bittygpt.terminal.console import duration


class Section(NamedTuple):
    """A title and rows of equally many cells; the last one is a remark."""

    title: str
    rows: Sequence[tuple[str, ...]]


def seconds(value: float) -> str:
    """As many digits as can be told apart: 1.2 ms, 0.35 s, 3 min 20 s."""
    if value < 0.1:
        return f"{value * 1e3:.1f} ms"
    return f"{value:.2f} s" if value < 10 else f"{value:.1f} s" if value < 100 else duration(value)


def size(number: float) -> str:
    """Bytes as a person says them."""
    for unit, name in ((1e12, "TB"), (1e9, "GB"), (1e6, "MB")):
        if number >= unit:
            return f"{number / unit:.2f} {name}" if number < 100 * unit else f"{number / unit:,.0f} {name}"
    return f"{number / 1e3:.1f} kB" if number else "0"
