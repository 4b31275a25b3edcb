"""What the corpus is handed on in: blocks of whole documents, and stretches of documents too long for one block.

Neither cuts a character, a word or a separator, so that what is made of them does not depend on where they end.
"""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Position:
    """A place between two documents of the corpus, or between two stretches of one document."""

    source: int = 0
    """Which of the corpus's sources, from 0."""
    offset: int = 0
    """Bytes of uncompressed text in front of it (.txt, .jsonl), or documents (.parquet, the builtin corpus)."""
    line: int = 1
    """The number of the line that begins there (.jsonl)."""
    stretch: int = 0
    """Stretches of the document at this place that lie in front of it."""


@dataclass(frozen=True)
class Block:
    """Consecutive documents of one source, as they stand there."""

    begin: Position
    end: Position
    read: int
    """Bytes of the source's file read so far."""
    name: str
    kind: Literal["txt", "jsonl", "texts"]
    content: bytes | list[str | None]
    """The bytes of the file; the texts themselves where they come from a .parquet file or the builtin corpus."""
    split: Literal["train", "val"] | None = None
    """None: each document's hash decides."""


@dataclass(frozen=True)
class Stretch:
    """A part of one long document."""

    begin: Position
    end: Position
    read: int
    text: str
    split: Literal["train", "val"]
    is_first: bool
    is_last: bool
    digest: int
    """The digest of the whole document."""


Piece = Block | Stretch
