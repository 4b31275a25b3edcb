"""The notation in which the stories of `stories.py` are written down, and the reading of it.

In a sentence, `{slot}` is a fact of the story (a name, a pronoun, the lost kite) and stays the same from the
first line to the last; `[big/little]` is a free choice made on the spot; `<glad>` is a phrase that all plots
share. Facts that belong together (a dish and what it is made of) stand in one row of a table, cells parted by `|`.

A file consists of blocks: a line at the margin, and below it lines indented by two spaces. Empty lines and those that
begin with `#` are for people.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from importlib import resources

Row = dict[str, str]
Table = tuple[Row, ...]
Variants = tuple[str, ...]


@dataclass(frozen=True)
class Beat:
    """One step of a plot, told by one of its variants; an optional one may be left out of a short story."""

    variants: Variants
    optional: bool = False


PARAGRAPH_BREAK = Beat(("//",))


@dataclass(frozen=True)
class Plot:
    """A plot skeleton.

    Attributes:
        thread: the slot that the beginning names and the ending must name again.
        tables: of each, one row is drawn; its columns become slots.
        beats: the steps of the plot, in order.
    """

    name: str
    thread: str
    tables: list[Table] = field(default_factory=list)
    beats: list[Beat] = field(default_factory=list)


@cache
def tables() -> dict[str, Table]:
    """The tables of `cast.txt`."""
    return {name: _table(lines) for name, lines in _blocks("cast.txt")}


@cache
def phrases() -> dict[str, Variants]:
    """The phrases of `phrases.txt`; that of a motif is called by the phrase that it may replace and the motif."""
    return {
        name: tuple("" if line == "-" else line for line in lines) for name, lines in _blocks("phrases.txt")
    }


@cache
def plots() -> tuple[Plot, ...]:
    """The plots of `plots.txt`."""
    found: list[Plot] = []
    for head, lines in _blocks("plots.txt"):
        mark, _, first = head.partition(" ")
        if mark == "==":
            name, thread, _ = re.split(r" \(|\): ", first)
            found.append(Plot(name, thread))
        elif mark == "@":
            found[-1].tables.append(_table((first, *lines)) if lines else tables()[first])
        else:
            beat = Beat((first, *lines), optional=mark == "?")
            found[-1].beats.append(PARAGRAPH_BREAK if mark == "//" else beat)
    return tuple(found)


def _table(lines: Variants) -> Table:
    """The rows below the first line, keyed by the names of the columns that stand there."""
    columns, *rows = ([cell.strip() for cell in line.split("|")] for line in lines)
    return tuple(dict(zip(columns, cells, strict=True)) for cells in rows)


def _blocks(file: str) -> Iterator[tuple[str, Variants]]:
    text = resources.files(__package__).joinpath(file).read_text("utf-8")
    written = "\n".join(line for line in text.splitlines() if line and not line.startswith("#"))
    for block in re.split(r"\n(?! )", written):
        head, *lines = block.split("\n  ")
        yield head, tuple(lines)
