"""Where text comes from: paths, globs, folders, URLs and the builtin corpus, read as a stream of documents."""

import glob
import gzip
import hashlib
import json
import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, cast

from bittygpt.data.download import cached_path, fetch
from bittygpt.data.stories import NUM_STORIES, stories, story
from bittygpt.errors import DataError, SourceMissingError
from bittygpt.files import sha256_of

BUILTIN = "builtin:stories"
SUFFIXES = (".txt", ".jsonl", ".txt.gz", ".jsonl.gz")
READ_SIZE = 1 << 20
BYTES_PER_STORY = 860  # about
GZIP_RATIO = 3  # about, for English


@dataclass(frozen=True)
class Source:
    """One file of text, or the builtin corpus (`path` None). `name` is what messages and the manifest call it."""

    name: str
    path: Path | None

    def size(self) -> int:
        """Bytes on disk; 0 for the builtin corpus, which lies on none."""
        return self.path.stat().st_size if self.path else 0

    def expected_bytes(self) -> int:
        """About how much text there is to read."""
        if self.path is None:
            return NUM_STORIES * BYTES_PER_STORY
        return self.size() * (GZIP_RATIO if self.path.suffix == ".gz" else 1)

    def hash(self) -> str:
        """SHA-256 of the file; of the first 200 stories for the builtin corpus, which tells its version."""
        if self.path:
            return sha256_of(self.path)
        return hashlib.sha256("\n".join(story(0, i) for i in range(200)).encode()).hexdigest()


@dataclass(frozen=True)
class ReadOptions:
    """How documents are cut from files: `data.separator`, `data.text_key`, `data.on_bad_record`."""

    separator: str
    text_key: str
    skip_bad_records: bool


def find_sources(
    entries: Iterable[str], key: str, on_progress: Callable[[str, int, int], None], may_download: bool = True
) -> list[Source]:
    """The files that the entries of `data.train` or `data.val` (named by `key`) stand for; globs in sorted order.

    Raises:
        SourceMissingError: nothing is there, or a URL is not in the cache and must not be fetched.
        DataError: the format is none that bittygpt reads, or a server says no.
    """
    sources: list[Source] = []
    for entry in entries:
        if entry.startswith("builtin:"):
            if entry != BUILTIN:
                raise DataError(f"{key}: there is no {entry!r}; the builtin corpus is {BUILTIN}")
            sources.append(Source(BUILTIN, None))
        elif entry.startswith(("http://", "https://")):
            if not may_download and not cached_path(entry).exists():
                raise SourceMissingError(f"{key}: {entry} has not been downloaded")
            sources.append(Source(entry, fetch(entry, on_progress)))
        else:
            sources.extend(Source(str(path), path) for path in _expand(entry, key))
    for source in sources:
        if source.path and not source.path.name.endswith(SUFFIXES):
            raise DataError(
                f"{key}: {source.name} is none of the formats that are read: {', '.join(SUFFIXES)}"
            )
    return sources


def _expand(entry: str, key: str) -> list[Path]:
    path = Path(entry).expanduser()
    if path.is_dir():
        found = sorted(p for p in path.rglob("*") if p.name.endswith(SUFFIXES))
    elif path.is_file():
        found = [path]
    else:
        found = sorted(Path(p) for p in glob.glob(str(path), recursive=True) if Path(p).is_file())
    if not found:
        what = "no file matches" if glob.has_magic(entry) else "there is no file"
        raise SourceMissingError(
            f"{key}: {what} {entry} (looked from {Path.cwd()}); give a path, a glob, a folder of "
            f"{', '.join(SUFFIXES)} files, an http(s) URL or {BUILTIN}"
        )
    return found


def read_documents(sources: Iterable[Source], options: ReadOptions) -> Iterator[str]:
    """The documents of the sources in order, the empty ones left out; memory holds one document at a time.

    Nothing is stripped: what is between two separators is the document.

    Raises:
        DataError: a record is not UTF-8, no JSON object, or lacks `data.text_key`; with the file, and the byte
            offset or the line. With `data.on_bad_record: skip` such records are left out.
    """
    for source in sources:
        if source.path is None:
            yield from stories()
            continue
        opener = gzip.open if source.path.name.endswith(".gz") else open
        try:
            with cast("IO[bytes]", opener(source.path, "rb")) as file:
                is_jsonl = source.path.name.endswith((".jsonl", ".jsonl.gz"))
                records = _from_jsonl if is_jsonl else _from_text
                yield from (document for document in records(file, source.name, options) if document)
        except (OSError, EOFError, zlib.error) as error:  # the last two: a damaged .gz
            raise DataError(f"{source.name} cannot be read: {error}") from error


def _from_text(file: IO[bytes], name: str, options: ReadOptions) -> Iterator[str]:
    separator = options.separator.encode()
    offset = 0
    for raw in _split(file, separator):
        try:
            yield raw.decode()
        except UnicodeDecodeError as error:
            if not options.skip_bad_records:
                raise DataError(
                    f"{name}: byte {offset + error.start} is not UTF-8 ({error.reason}); convert the file, "
                    "or set data.on_bad_record: skip to leave such documents out"
                ) from None
        offset += len(raw) + len(separator)


def _split(file: IO[bytes], separator: bytes) -> Iterator[bytes]:
    """The pieces between separators. Works on bytes, so that no read cuts a character or a separator in two."""
    buffer = bytearray()
    while piece := file.read(READ_SIZE):
        search_from = max(0, len(buffer) - len(separator) + 1)
        buffer += piece
        start = 0
        while (end := buffer.find(separator, max(start, search_from))) >= 0:
            yield bytes(buffer[start:end])
            start = end + len(separator)
        del buffer[:start]
    yield bytes(buffer)


def _from_jsonl(file: IO[bytes], name: str, options: ReadOptions) -> Iterator[str]:
    for number, line in enumerate(file, 1):
        if not line.strip():
            continue
        try:
            text = json.loads(line)[options.text_key]
            if not isinstance(text, str):
                raise TypeError
        except (ValueError, KeyError, TypeError, IndexError):
            if not options.skip_bad_records:
                raise DataError(
                    f"{name}:{number}: not a JSON object with a text under {options.text_key!r}; set data.text_key, "
                    "mend the line, or set data.on_bad_record: skip to leave such lines out"
                ) from None
            continue
        yield text


def split_off_validation(documents: Iterator[str], fraction: float) -> Iterator[tuple[str, str]]:
    """Give every document its split, "train" or "val".

    A document's own hash decides, so it stays where it is when others come or go or are put in another order. A text
    of a single document gives its tail, cut between characters.
    """
    first, second = next(documents, None), next(documents, None)
    if first is not None and second is None and fraction > 0:
        cut = int(len(first) * (1 - fraction))
        yield from (pair for pair in (("train", first[:cut]), ("val", first[cut:])) if pair[1])
        return
    limit = int(fraction * 2**64)
    for document in _chain(first, second, documents):
        digest = hashlib.blake2b(
            document.encode("utf-8", "surrogatepass"), digest_size=8, person=b"bittygpt-val"
        )
        yield ("val" if int.from_bytes(digest.digest(), "little") < limit else "train"), document


def _chain(first: str | None, second: str | None, rest: Iterator[str]) -> Iterator[str]:
    yield from (document for document in (first, second) if document is not None)
    yield from rest


def sample_bytes(documents: Iterator[str], total_bytes: int, limit: int) -> Iterator[str]:
    """About `limit` of `total_bytes` bytes of text, spread over all of it: whole documents, chosen by their hash."""
    keep = int(min(1.0, limit / max(1, total_bytes)) * 2**64)
    for document in documents:
        digest = hashlib.blake2b(
            document.encode("utf-8", "surrogatepass"), digest_size=8, person=b"bittygpt-vocab"
        )
        if int.from_bytes(digest.digest(), "little") < keep:
            yield document
