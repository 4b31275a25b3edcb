"""A document too long for memory: written to a temporary file once, then read in stretches."""

import codecs
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Literal

from bittygpt.errors import DataError
from bittygpt.text.documents import new_digest
from bittygpt.text.pieces import Position, Stretch
from bittygpt.tokenizer.pretokenization import safe_cut

READ_SIZE = 1 << 18
STRETCH_CHARACTERS = 1 << 19
Split = Literal["train", "val"]


class LongDocument:
    """The bytes of one document in an anonymous temporary file, which is deleted when the object is.

    Attributes:
        characters: how many it has.
        digest: as `digest_of` gives it for a text in memory.
        bad_byte: offset and reason of the first byte that is not UTF-8, None for a good document.
    """

    def __init__(self, folder: Path) -> None:
        """
        Args:
            folder: where there is room for the document.
        """
        self._folder = folder
        with self._disk_errors_named():
            folder.mkdir(parents=True, exist_ok=True)
            self._file: IO[bytes] = tempfile.TemporaryFile(dir=folder)
        self._decoder = codecs.getincrementaldecoder("utf-8")()
        self._hash = new_digest()
        self.num_bytes = self.characters = 0
        self.bad_byte: tuple[int, str] | None = None

    def __del__(self) -> None:
        if hasattr(self, "_file"):
            with suppress(OSError):  # of a disk that is full: what was not written need not be
                self._file.close()

    @classmethod
    def of(cls, text: str, folder: Path) -> "LongDocument":
        """A text that is in memory already."""
        document = cls(folder)
        document.append(text.encode())
        document.finish()
        return document

    def append(self, data: bytes | bytearray) -> None:
        """Add bytes at the end."""
        with self._disk_errors_named():
            self._file.write(data)
        self._hash.update(data)
        self._check(data, final=False)
        self.num_bytes += len(data)

    def finish(self) -> None:
        """Nothing more will come."""
        with self._disk_errors_named():
            self._file.flush()
        self._check(b"", final=True)
        self.digest = int.from_bytes(self._hash.digest(), "little")

    @contextmanager
    def _disk_errors_named(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise DataError(f"data.dir: {self._folder} has no place for a long document ({error})") from None

    def _check(self, data: bytes | bytearray, final: bool) -> None:
        if self.bad_byte is not None:
            return
        begun = len(self._decoder.getstate()[0])  # bytes of a character that is not complete yet
        try:
            self.characters += len(self._decoder.decode(data, final))
        except UnicodeDecodeError as error:
            self.bad_byte = self.num_bytes - begun + error.start, error.reason

    def stretches(
        self, begin: Position, end: Position, read: int, split: Split, cut: int | None = None
    ) -> Iterator[Stretch]:
        """The document from the stretch on that `begin` names.

        Args:
            begin, end: where the document stands in the corpus, and what comes after it.
            cut: the characters from here on are another document, of the validation split.
        """
        labelled = _in_two(self._texts(), cut, split)
        following = next(labelled, None)
        number = 0
        while following is not None:
            name, text = following
            following = next(labelled, None)
            is_last = following is None or following[0] != name
            after = end if following is None else Position(begin.source, begin.offset, begin.line, number + 1)
            before = Position(begin.source, begin.offset, begin.line, number)
            if number >= begin.stretch:
                # The second part is no copy of the first: a digest of its own keeps it from being counted as one.
                digest = self.digest if name == split else ~self.digest & (1 << 64) - 1
                yield Stretch(before, after, read, text, name, is_last, digest)
            number += 1

    def _texts(self) -> Iterator[str]:
        self._file.seek(0)
        decoder = codecs.getincrementaldecoder("utf-8")()
        text, longest = "", STRETCH_CHARACTERS
        while data := self._file.read(READ_SIZE):
            text += decoder.decode(data)
            if len(text) >= longest:
                cut = safe_cut(text)
                if cut:
                    yield text[:cut]
                    text = text[cut:]
                longest = len(text) + STRETCH_CHARACTERS  # where there is no place to cut, look again later
        if text:
            yield text


def _in_two(texts: Iterator[str], cut: int | None, split: Split) -> Iterator[tuple[Split, str]]:
    """The texts with their split; from character `cut` of them all on, "val"."""
    seen = 0
    for text in texts:
        here = len(text) if cut is None else min(max(0, cut - seen), len(text))
        seen += len(text)
        if here:
            yield split, text[:here]
        if here < len(text):
            yield "val", text[here:]
