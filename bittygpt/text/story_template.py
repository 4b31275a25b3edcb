"""The notation in which the stories of `stories.py` are written down: plots, tables and sentence variants.

In a sentence, `{slot}` is a fact of the story (a name, a pronoun, the lost kite) and stays the same from the
first line to the last; `[big/little]` is a free choice made on the spot; `<glad>` is a phrase that all plots
share. Facts that belong together (a dish and what it is made of) stand in one row of a table.
"""

from dataclasses import dataclass

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
    tables: tuple[Table, ...]
    beats: tuple[Beat, ...]


def words(text: str) -> tuple[str, ...]:
    """The words of `text`."""
    return tuple(text.split())


def variants(text: str) -> Variants:
    """The lines of `text`; a line that starts with two spaces goes on with the line before it."""
    return tuple(line for line in text.strip().replace("\n  ", " ").split("\n"))


def table(columns: str, text: str) -> Table:
    """Rows of `text`, one a line, cells parted by `|`, as dicts keyed by the names in `columns`."""
    names = columns.split()
    rows = [[cell.strip() for cell in line.split("|")] for line in variants(text)]
    return tuple(dict(zip(names, cells, strict=True)) for cells in rows)


def beats(text: str) -> tuple[Beat, ...]:
    """The beats of a plot in order, parted by empty lines, a variant a line.

    A beat whose first line is `?` is optional; the beat `//` is a place where a paragraph may end.
    """
    return tuple(_beat(part) for part in text.strip().split("\n\n"))


def _beat(text: str) -> Beat:
    if text == "//":
        return PARAGRAPH_BREAK
    return Beat(variants(text.removeprefix("?\n")), optional=text.startswith("?\n"))
