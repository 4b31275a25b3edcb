"""All the text of a config, in order: which pieces there are, and which split each belongs to."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from bittygpt.text.blocks import Found, read_source
from bittygpt.text.documents import ReadOptions, documents_of, is_validation, not_utf8
from bittygpt.text.long_document import LongDocument
from bittygpt.text.pieces import Block, Piece, Position
from bittygpt.text.sources import Source


@dataclass(frozen=True)
class Corpus:
    """The sources of `data.train` and `data.val` as a stream of pieces that can begin anywhere.

    Attributes:
        val_fraction: share of the training documents that is validated on; 0 where there are `val` sources.
        spool: a folder with room for a document too long for memory.
    """

    train: tuple[Source, ...]
    val: tuple[Source, ...]
    val_fraction: float
    options: ReadOptions
    spool: Path

    @property
    def sources(self) -> tuple[Source, ...]:
        """Those of training, then those of validation."""
        return self.train + self.val

    def total_bytes(self) -> int:
        """The size on disk of all sources, which `bytes_read` runs up to."""
        return sum(source.size() for source in self.sources)

    def bytes_read(self, piece: Piece) -> int:
        """How much of `total_bytes` is read with this piece."""
        place = piece.begin.source
        return sum(source.size() for source in self.sources[:place]) + piece.read

    def training_pieces(self) -> Iterator[Piece]:
        """All of the training text, that which is held out for validation included: what a vocabulary learns from."""
        for place in range(len(self.train)):
            yield from self._pieces_of(place, Position(place))

    def pieces(self, begin: Position) -> Iterator[Piece]:
        """The pieces of both splits from a position on. A text of a single document gives its tail to validation.

        Raises:
            DataError: a source cannot be read, or holds a broken record and `data.on_bad_record` is not skip.
        """
        document, skipped = self._only_document
        if document is not None and begin.source < len(self.train):
            end, read = Position(len(self.train)), sum(source.size() for source in self.train)
            if begin == Position():
                begin = Position(line=2)  # no longer the start: who goes on from here has counted them
                yield _only_bad(skipped, Position(), begin, read, self.train[0].name)
            cut = int(document.characters * (1 - self.val_fraction))
            yield from document.stretches(begin, end, read, "train", cut)
            begin = end
        for place in range(begin.source, len(self.sources)):
            yield from self._pieces_of(place, begin if place == begin.source else Position(place))

    def _pieces_of(self, place: int, begin: Position) -> Iterator[Piece]:
        """One source's pieces; of a validation source all of them with that label."""
        held_out = place >= len(self.train)
        for found in read_source(self.sources[place], replace(begin, stretch=0), self.options, self.spool):
            if isinstance(found, Block):
                yield replace(found, split="val") if held_out else found
            elif not self._is_good(found[0], found[1], self.sources[place]):
                yield _only_bad(1, *found[1:], self.sources[place].name)
            else:
                document, first, end, read = found
                is_val = held_out or is_validation(document.digest, self.val_fraction)
                if first.offset == begin.offset:
                    first = begin  # with the stretches that are done
                yield from document.stretches(first, end, read, "val" if is_val else "train")

    def _is_good(self, document: LongDocument, begin: Position, source: Source) -> bool:
        if document.bad_byte is None:
            return True
        if not self.options.skip_bad_records:
            offset, reason = document.bad_byte
            raise not_utf8(source.name, begin.offset + offset, reason)
        return False

    @cached_property
    def _only_document(self) -> tuple[LongDocument | None, int]:
        """The document of a training text that has no other, where some of it is to be held out, else None; and
        how many broken records stand beside it."""
        only: LongDocument | str | None = None
        skipped = 0
        if not self.val_fraction:
            return None, 0
        for place, source in enumerate(self.train):
            for found in read_source(source, Position(place), self.options, self.spool):
                documents, bad = self._documents_of(found, source)
                if len(documents) > 1 or (documents and only is not None):
                    return None, 0
                only = documents[0] if documents else only
                skipped += bad
        return (LongDocument.of(only, self.spool) if isinstance(only, str) else only), skipped

    def _documents_of(self, found: Found, source: Source) -> tuple[list[str] | list[LongDocument], int]:
        if isinstance(found, Block):
            return documents_of(found, self.options)
        is_good = self._is_good(found[0], found[1], source)
        return ([found[0]], 0) if is_good else ([], 1)


def _only_bad(number: int, begin: Position, end: Position, read: int, name: str) -> Block:
    """A block of broken records that were found in passing, to be counted with the others."""
    return Block(begin, end, read, name, "texts", [None] * number)
