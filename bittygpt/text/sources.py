"""Where text comes from: paths, globs, folders, URLs and the builtin corpus."""

import glob
import hashlib
import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from bittygpt.errors import DataError, SourceMissingError
from bittygpt.files import sha256_of
from bittygpt.text.builtin.stories import NUM_STORIES, story
from bittygpt.text.compression import COMPRESSED

Progress = Callable[[str, int, int], None]
"""Called with what is being done, how far (bytes or merges), and of how much (0: not known)."""

BUILTIN = "builtin:stories"
# the formats; blocks.py reads each in blocks, documents.py takes the documents out of a block
KINDS: tuple[Literal["txt", "jsonl", "parquet"], ...] = ("txt", "jsonl", "parquet")
SUFFIXES = tuple(f".{kind}{packed}" for packed in ("", *COMPRESSED) for kind in KINDS)
BYTES_PER_STORY = 820  # about
COMPRESSION_RATIO = 3  # about, for English


@dataclass(frozen=True)
class Source:
    """One file of text, or the builtin corpus (`path` None). `name` is what messages and the manifest call it."""

    name: str
    path: Path | None
    num_stories: int = NUM_STORIES

    @property
    def kind(self) -> Literal["txt", "jsonl", "parquet"]:
        """The format, by the end of the file's name; one that says nothing is plain text."""
        assert self.path is not None
        unpacked = self.path.with_suffix("") if self.path.suffix in COMPRESSED else self.path
        return next((kind for kind in KINDS if unpacked.name.endswith(f".{kind}")), "txt")

    def size(self) -> int:
        """Bytes on disk; about as many as its texts have for the builtin corpus, which lies on none."""
        return self.path.stat().st_size if self.path else self.num_stories * BYTES_PER_STORY

    def expected_bytes(self) -> int:
        """About how much text there is to read."""
        packed = self.path is not None and (self.path.suffix in COMPRESSED or self.kind == "parquet")
        return self.size() * (COMPRESSION_RATIO if packed else 1)

    def stamp(self) -> dict[str, int]:
        """Size and time of change, which tell without reading whether a file may have changed."""
        if self.path is None:
            return {"bytes": 0, "mtime_ns": 0}
        return {"bytes": self.size(), "mtime_ns": self.path.stat().st_mtime_ns}

    def hash(self, on_bytes: Callable[[int], None]) -> str:
        """SHA-256 of the file; of the first 200 stories for the builtin corpus, which tells its version."""
        if self.path:
            return sha256_of(self.path, on_bytes)
        return hashlib.sha256("\n".join(story(0, i) for i in range(200)).encode()).hexdigest()


def find_sources(
    entries: Iterable[str], key: str, on_progress: Progress, may_download: bool = True
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
            # http and ssl: only who has a URL waits for them
            from bittygpt.text.download import cached_path, fetch

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
    path = Path(os.path.expanduser(entry))  # Path.expanduser refuses a file called ~$notes.txt
    if path.is_dir():
        found = sorted(p for p in path.rglob("*") if p.name.endswith(SUFFIXES) and p.is_file())
    elif path.is_file():
        found = [path]
    else:
        found = sorted(Path(p) for p in glob.glob(str(path), recursive=True) if Path(p).is_file())
    if not found:
        what = f"{'no file matches' if glob.has_magic(entry) else 'there is no file'} {entry}"
        if path.is_dir():
            what = f"the folder {entry} holds no text file"
        raise SourceMissingError(
            f"{key}: {what} (looked from {Path.cwd()}); give a path, a glob, a folder of "
            f"{', '.join(SUFFIXES)} files, an http(s) URL or {BUILTIN}"
        )
    return found
