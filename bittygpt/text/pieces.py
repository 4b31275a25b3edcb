"""The pieces that a corpus is read in: blocks of whole documents, and stretches of documents too long for one block.

Neither cuts a character, a word or a separator, so the tokens do not depend on where pieces end.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from bittygpt.errors import DataError


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
class FileRange:
    """A range of bytes of a plain file. The worker that needs them reads them, so they need not be sent to it."""

    path: Path
    offset: int
    length: int

    def read(self) -> bytes:
        """The bytes.

        Raises:
            DataError: they are gone.
        """
        with open(self.path, "rb") as file:
            file.seek(self.offset)
            data = file.read(self.length)
        if len(data) != self.length:
            raise DataError(f"{self.path} has changed while it was read; run the same command again")
        return data


@dataclass(frozen=True)
class Block:
    """Consecutive documents of one source, as they stand there."""

    begin: Position
    end: Position
    read: int
    """Bytes of the source's file read so far."""
    name: str
    kind: Literal["txt", "jsonl", "texts"]
    data: "bytes | FileRange | list[str | None]"
    split: Literal["train", "val"] | None = None
    """None: each document's hash decides."""

    @property
    def content(self) -> bytes | list[str | None]:
        """The bytes of the file; the texts themselves where they come from a .parquet file or the builtin corpus."""
        return self.data.read() if isinstance(self.data, FileRange) else self.data


@dataclass(frozen=True)
class Stretch:
    """A part of one long document."""

    begin: Position
    end: Position
    read: int
    text: str
    split: Literal["train", "val"]
    is_last: bool
    digest: int
    """The digest of the whole document, turned over for a tail that was cut off for validation."""


Piece = Block | Stretch
