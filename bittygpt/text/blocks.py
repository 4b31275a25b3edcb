"""Reads one source front to back and cuts it into blocks of whole documents; memory holds about one block."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from bittygpt.errors import DataError
from bittygpt.text.builtin.stories import story
from bittygpt.text.compression import COMPRESSED, OpenText, open_text
from bittygpt.text.documents import ReadOptions
from bittygpt.text.long_document import LongDocument
from bittygpt.text.pieces import Block, FileRange, Position
from bittygpt.text.sources import Source

READ_SIZE = 1 << 18
BLOCK_BYTES = 1 << 19
LONG_DOCUMENT = 1 << 22
ROWS_AT_ONCE = 64
STORIES_AT_ONCE = 1000

Found = Block | tuple[LongDocument, Position, Position, int]
"""A block, or a long document with where it begins, where it ends, and the bytes of the file read by then."""


def read_source(source: Source, begin: Position, options: ReadOptions, spool: Path) -> Iterator[Found]:
    """The blocks of a source from a position on.

    Args:
        spool: a folder with room for a document too long for memory, and for an unpacked .parquet file.

    Raises:
        DataError: the file cannot be read, or lacks what a .parquet file must have.
    """
    if source.path is None:
        yield from _builtin(source, begin)
    elif source.kind == "parquet":
        yield from _parquet(source, source.path, begin, options, spool)
    else:
        with open_text(source.path, source.name, begin.offset) as text:
            if source.kind == "jsonl":
                yield from _lines(source, text, begin)
            elif source.kind == "txt":
                yield from _txt(source, text, begin, options.separator.encode(), spool)
            else:
                raise ValueError(f"no reader for the format {source.kind}")


def _builtin(source: Source, begin: Position) -> Iterator[Block]:
    for first in range(begin.offset, source.num_stories, STORIES_AT_ONCE):
        after = min(first + STORIES_AT_ONCE, source.num_stories)
        texts: list[str | None] = [story(0, index) for index in range(first, after)]
        read = source.size() * after // source.num_stories
        yield Block(
            Position(begin.source, first), Position(begin.source, after), read, source.name, "texts", texts
        )


def _lines(source: Source, text: OpenText, begin: Position) -> Iterator[Block]:
    """Blocks of whole lines, however long one is."""
    buffer, searched = bytearray(), 0
    while True:
        data = text.stream.read(READ_SIZE)
        buffer += data
        cut = len(buffer) if not data else buffer.rfind(b"\n", searched) + 1
        searched = len(buffer)
        if not data or (cut and len(buffer) >= BLOCK_BYTES):
            end = Position(begin.source, begin.offset + cut, begin.line + buffer.count(b"\n", 0, cut))
            if cut:
                content = _block_data(source, text, begin, buffer, cut)
                yield Block(begin, end, text.file.tell(), source.name, "jsonl", content)
            del buffer[:cut]
            begin, searched = end, 0
        if not data:
            return


def _txt(source: Source, text: OpenText, begin: Position, separator: bytes, spool: Path) -> Iterator[Found]:
    """Blocks that end behind a separator. Works on bytes, so that no read cuts a character or a separator in two.

    Separators are looked for from the left, each behind the one before, as a separator like "\\n\\n" may overlap
    itself: any other place to cut would be found from one side and not from the other. Which documents are long
    depends on their length alone: reading that begins elsewhere must find the same ones.
    """
    buffer, cut, searched = bytearray(), 0, 0
    while True:
        data = text.stream.read(READ_SIZE)
        buffer += data
        while 0 <= (found := buffer.find(separator, searched)) < cut + LONG_DOCUMENT:
            cut = searched = found + len(separator)
        settled = len(buffer) - (len(separator) - 1 if data else 0)  # behind it a separator may have begun
        is_long = (found if found >= 0 else settled) - cut >= LONG_DOCUMENT
        searched = max(cut, len(buffer) - len(separator) + 1)
        if not data and not is_long:
            cut = len(buffer)
        if cut and (not data or cut >= BLOCK_BYTES or is_long):
            end = Position(begin.source, begin.offset + cut)
            content = _block_data(source, text, begin, buffer, cut)
            yield Block(begin, end, text.file.tell(), source.name, "txt", content)
            del buffer[:cut]
            begin, cut, searched = end, 0, searched - cut
        if is_long:
            document, buffer, after = _spooled(buffer, text.stream, separator, spool)
            end = Position(begin.source, begin.offset + document.num_bytes + after)
            yield document, begin, end, text.file.tell()
            begin, searched = end, 0
        elif not data:
            return


def _block_data(
    source: Source, text: OpenText, begin: Position, buffer: bytearray, cut: int
) -> bytes | FileRange:
    """The beginning of the buffer; of a plain file only where it stands."""
    if source.path is not None and text.stream is text.file:
        return FileRange(source.path, begin.offset, cut)
    return bytes(buffer[:cut])


def _spooled(
    head: bytearray, stream: IO[bytes], separator: bytes, spool: Path
) -> tuple[LongDocument, bytearray, int]:
    """The document that begins with `head`, what was read behind it, and the length of the separator between."""
    document, buffer = LongDocument(spool), head
    keep = len(separator) - 1  # the last bytes may be the beginning of a separator
    while (found := buffer.find(separator)) < 0 and (data := stream.read(READ_SIZE)):
        settled = max(0, len(buffer) - keep)
        document.append(buffer[:settled])
        buffer = buffer[settled:] + data
    document.append(buffer if found < 0 else buffer[:found])
    document.finish()
    if found < 0:
        return document, bytearray(), 0
    return document, buffer[found + len(separator) :], len(separator)


def _parquet(
    source: Source, path: Path, begin: Position, options: ReadOptions, spool: Path
) -> Iterator[Block]:
    try:
        import pyarrow as arrow
        from pyarrow import parquet
    except ImportError:
        raise DataError(f"{source.name}: .parquet needs pyarrow; pip install 'bittygpt[parquet]'") from None
    try:
        with _unpacked(path, source.name, spool) as file:
            yield from _rows(source, parquet.ParquetFile(file), begin, options.text_key)
    except (arrow.ArrowException, OSError, UnicodeDecodeError) as error:
        raise DataError(f"{source.name} cannot be read: {error}") from error


@contextmanager
def _unpacked(path: Path, name: str, spool: Path) -> Iterator[IO[bytes]]:
    """A file that can be read from anywhere: the index of a .parquet file stands at its end."""
    if path.suffix not in COMPRESSED:
        with open(path, "rb") as file:
            yield file
        return
    spool.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryFile(dir=spool) as unpacked, open_text(path, name) as text:
        while data := text.stream.read(READ_SIZE):
            unpacked.write(data)
        yield unpacked


def _rows(source: Source, table: Any, begin: Position, column: str) -> Iterator[Block]:
    names = table.schema_arrow.names
    if column not in names:
        raise DataError(
            f"{source.name}: there is no column {column!r} among {', '.join(names)}; set data.text_key"
        )
    total, row, size = table.metadata.num_rows, 0, 0
    texts: list[str | None] = []
    first = begin.offset
    for group in range(table.num_row_groups):
        rows_in_group = table.metadata.row_group(group).num_rows
        if row + rows_in_group <= first and not texts:
            row += rows_in_group
            continue
        for batch in table.iter_batches(ROWS_AT_ONCE, row_groups=[group], columns=[column]):
            values = _texts_of(batch.column(0))[max(0, first - row) :]
            row += batch.num_rows
            texts += values
            size += sum(len(text) for text in values if text)
            if size >= BLOCK_BYTES or (row == total and texts):
                read = source.size() * row // total
                places = Position(begin.source, first), Position(begin.source, row)
                yield Block(*places, read, source.name, "texts", texts)
                first, texts, size = row, [], 0


def _texts_of(column: Any) -> list[str | None]:
    """The values of a column; None for what is no text."""
    texts: list[str | None] = []
    for value in column:
        try:
            text = value.as_py()
        except UnicodeDecodeError:
            text = None
        texts.append(text if isinstance(text, str) else None)
    return texts
