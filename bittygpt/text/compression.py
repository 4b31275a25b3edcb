"""Files as they are, `.gz` and `.zst`: one way to open all three for reading."""

import gzip
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, cast

import zstandard

from bittygpt.errors import DataError

COMPRESSED = (".gz", ".zst")
_SKIP = 1 << 20


@dataclass(frozen=True)
class OpenText:
    """A file's text as a stream of bytes, and the file underneath, whose position tells how much of it is read."""

    stream: IO[bytes]
    file: IO[bytes]


@contextmanager
def open_text(path: Path, name: str, offset: int = 0) -> Iterator[OpenText]:
    """Open a file for reading from a byte of its (uncompressed) text on.

    Raises:
        DataError: it cannot be read, or is damaged: a compressed file also while it is being read.
    """
    try:
        with open(path, "rb") as file:
            stream = _decompressed(file, path.suffix)
            if stream is file:
                file.seek(offset)
            else:
                while offset and (skipped := stream.read(min(offset, _SKIP))):
                    offset -= len(skipped)
            yield OpenText(stream, file)
    except (OSError, EOFError, zlib.error, zstandard.ZstdError) as error:
        raise DataError(f"{name} cannot be read: {error}; fetch or pack it anew") from error


def _decompressed(file: IO[bytes], suffix: str) -> IO[bytes]:
    if suffix == ".gz":
        return cast("IO[bytes]", gzip.GzipFile(fileobj=file))
    if suffix == ".zst":
        return cast("IO[bytes]", _ZstdReader(file))
    return file


class _ZstdReader:
    """Reads all frames of a .zst file, and says so where the last is cut short (zstandard's own reader is silent)."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file, self._ready = file, bytearray()
        self._decoder = zstandard.ZstdDecompressor().decompressobj()
        self._fresh = True  # at the start of a frame

    def read(self, size: int) -> bytes:
        """Up to `size` bytes; none at the end."""
        while len(self._ready) < size:
            data = self._file.read(1 << 14)
            if not data:
                if not self._fresh:
                    raise EOFError("the last frame is cut short")
                break
            while data:
                self._ready += self._decoder.decompress(data)
                self._fresh = self._decoder.eof
                data = self._decoder.unused_data if self._decoder.eof else b""
                if self._decoder.eof:
                    self._decoder = zstandard.ZstdDecompressor().decompressobj()
        piece = bytes(self._ready[:size])
        del self._ready[:size]
        return piece
