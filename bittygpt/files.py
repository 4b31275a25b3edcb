"""How every file is written: completely or not at all, even if the power fails."""

import errno
import hashlib
import json
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from bittygpt.errors import DataError

# no room, none for this user, or not for so large a file
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@contextmanager
def named(path: Path) -> Iterator[None]:
    """An error of the system's that names no file, as that of a write does, names this one."""
    try:
        yield
    except OSError as error:
        if error.errno is not None and error.filename is None:
            error.filename = str(path)
        raise


@contextmanager
def atomic_file(path: Path) -> Iterator[IO[bytes]]:
    """Open a file for writing that takes the place of `path` in one move when the block ends without an error.

    It is written beside its target (a move between file systems would be a copy) and flushed to the disk before the
    move. On an error the half-written file goes and what was at `path` stays.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}-{threading.get_ident()}.tmp")
    try:
        with named(path), open(temporary, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def remove_leftovers(folder: Path) -> None:
    """Remove what `atomic_file` was writing in a folder when its process was killed."""
    for leftover in folder.glob(".*.[0-9]*-[0-9]*.tmp"):
        leftover.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Replace the file by this text, UTF-8, atomically."""
    with atomic_file(path) as file:
        file.write(text.encode())


def write_json(path: Path, value: Any) -> None:
    """Replace the file by this value as indented JSON, atomically."""
    write_text(path, as_json(value))


def as_json(value: Any) -> str:
    """The one form in which bittygpt writes JSON files."""
    return json.dumps(value, indent=2) + "\n"


def make_folder(folder: Path, key: str) -> None:
    """Make a folder that a config key names.

    Raises:
        DataError: it cannot be made or written to.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        writable = os.access(folder, os.W_OK)
    except OSError as error:
        raise DataError(
            f"{key}: the folder {folder} cannot be made ({error.strerror}); set {key} to another"
        ) from None
    if not writable:
        raise DataError(f"{key}: the folder {folder} cannot be written to; set {key} to another")


def sync_folder(folder: Path) -> None:
    """Flush a folder's own entries, without which a rename can be undone by a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def is_disk_full(error: BaseException) -> bool:
    """Whether a write failed for want of room or quota; safetensors and torch say so in errors of their own."""
    if isinstance(error, OSError):
        return error.errno in _FULL
    from safetensors import SafetensorError  # which not all need that write files

    if error.__cause__ is not None and is_disk_full(error.__cause__):
        return True
    text = str(error)
    return isinstance(error, SafetensorError | RuntimeError) and (
        "No space left" in text
        or "quota exceeded" in text
        or any(f"os error {number}" in text for number in _FULL)
    )


def sha256_of(path: Path, on_bytes: Callable[[int], None] | None = None) -> str:
    """The file's SHA-256 in hexadecimal, read in pieces; `on_bytes` is told how many bytes are read."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while piece := file.read(1 << 20):
            digest.update(piece)
            if on_bytes is not None:
                on_bytes(file.tell())
    return digest.hexdigest()


def cache_folder() -> Path:
    """$BITTYGPT_CACHE, else $XDG_CACHE_HOME/bittygpt, else ~/.cache/bittygpt."""
    if folder := os.environ.get("BITTYGPT_CACHE"):
        return Path(folder)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "bittygpt"
