"""The notation in which the stories of `stories.py` are written down: plots, tables and sentence variants.

In a sentence, `{slot}` is a fact of the story (a name, a pronoun, the lost kite) and stays the same from the
first line to the last; `[big/little]` is a free choice made on the spot; `<glad>` is a phrase that all plots
share. Facts that belong together (a dish and what it is made of) stand in one row of a table.
"""

from dataclasses import dataclass

Row = dict[str, str]
Table = tuple[Row, ...]
Beat = tuple[str, ...]

PARAGRAPH_BREAK: Beat = ("//",)


def table(columns: str, text: str) -> Table:
    """Rows of `text`, one a line, cells parted by `|`, as dicts keyed by the names in `columns`."""
    names = columns.split()
    rows = [[cell.strip() for cell in line.split("|")] for line in variants(text)]
    return tuple(dict(zip(names, cells, strict=True)) for cells in rows)


def variants(text: str) -> Beat:
    """The lines of `text`; a line that starts with two spaces goes on with the line before it."""
    return tuple(line for line in text.strip().replace("\n  ", " ").split("\n"))


def beats(text: str) -> tuple[Beat, ...]:
    """The beats of a plot in order, parted by empty lines; each beat is a tuple of interchangeable variants.

    The line `-` alone is a variant that says nothing; the beat `//` is a place where a paragraph may end.
    """
    return tuple(
        tuple("" if variant == "-" else variant for variant in variants(part))
        for part in text.strip().split("\n\n")
    )


@dataclass(frozen=True)
class Draw:
    """One row to be drawn from `rows`; its columns become slots, their names followed by `suffix`.

    Two draws from the same table in one story never give the same row.
    """

    rows: Table
    suffix: str = ""


@dataclass(frozen=True)
class Plot:
    """A plot skeleton. `thread` is the slot that the beginning names and the ending must name again."""

    name: str
    thread: str
    draws: tuple[Draw, ...]
    beats: tuple[Beat, ...]
