"""A lock on a file. It is released when the process that holds it ends, however it ends."""

import errno
import fcntl
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

NAME = ".lock"  # of the file that stands for a folder
_NO_LOCKS = (errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOLCK)  # a file system without locks: then there are none
LOOK_EVERY = 0.1  # seconds


@contextmanager
def file_lock(path: Path, while_held_by_another: Callable[[], None]) -> Iterator[int]:
    """Hold the system's lock (flock) on a file, which is made for it and removed with it; gives the open file.

    As long as another process holds it, `while_held_by_another` is called ten times a second; it ends the wait by
    raising. The lock goes with its folder when that is renamed.
    """
    file = _take(path, while_held_by_another)
    try:
        yield file
    finally:
        if _is_at(file, path):
            path.unlink()
        os.close(file)


def _take(path: Path, while_held_by_another: Callable[[], None]) -> int:
    while True:
        path.parent.mkdir(parents=True, exist_ok=True)  # another process with --fresh may just have moved it
        file = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(file)
            while_held_by_another()
            time.sleep(LOOK_EVERY)
            continue
        except OSError as error:
            if error.errno not in _NO_LOCKS:
                raise
        if _is_at(file, path):  # else its last holder has just removed it, or moved the folder
            return file
        os.close(file)


def _is_at(file: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(file), path.stat())
    except FileNotFoundError:
        return False
