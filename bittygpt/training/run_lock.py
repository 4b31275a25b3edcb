"""One process per run: who holds a run's folder, and how a second one is told."""

import errno
import fcntl
import json
import os
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path

from bittygpt.errors import RunInUseError
from bittygpt.files import make_folder
from bittygpt.training.run_folder import RunFolder

NAME = ".lock"
_NO_LOCKS = (errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOLCK)  # a file system without locks: then there are none
PATIENCE = 3.0  # seconds: a killed holder needs a moment to be gone


@contextmanager
def run_lock(folder: Path) -> Iterator[None]:
    """Hold a run's folder; a holder that dies, however it dies, lets go of it.

    The lock is the system's own (flock) on a file that says who holds it. It goes with the folder when that is renamed.

    Raises:
        RunInUseError: another process holds it, and still does after `PATIENCE` seconds.
    """
    path = folder / NAME
    file = _take(path, time.monotonic() + PATIENCE)
    try:
        holder = {
            "pid": os.getpid(),
            "host": socket.gethostname(),
            "since": f"{datetime.now():%Y-%m-%d %H:%M}",
        }
        with suppress(OSError):  # a full disk: the lock holds all the same
            os.truncate(file, 0)
            os.pwrite(file, json.dumps(holder).encode(), 0)
        yield
    finally:
        if _is_at(file, path):
            path.unlink()
        os.close(file)


@contextmanager
def hold_run(run: RunFolder, fresh: bool, say: Callable[[str], None]) -> Iterator[None]:
    """Make a run's folder and hold it; if it is to be a fresh one, the old one is kept beside it.

    Raises:
        RunInUseError: another process holds it.
        DataError: it cannot be made.
    """
    if fresh and run.path.exists():
        with run_lock(run.path):
            old = run.set_aside()
            (old / NAME).unlink()
        say(f"the old run is kept as {old}")
    make_folder(run.path, "run.dir")
    with run_lock(run.path):
        yield


def _take(path: Path, deadline: float) -> int:
    while True:
        path.parent.mkdir(parents=True, exist_ok=True)  # another process with --fresh may just have moved it
        file = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(file)
            if time.monotonic() > deadline:
                raise RunInUseError(_who(path)) from None
            time.sleep(0.1)
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


def _who(path: Path) -> str:
    try:
        holder = json.loads(path.read_text("utf-8"))
        by = f"process {holder['pid']} on {holder['host']} since {holder['since']}"
    except (OSError, ValueError, KeyError, TypeError):  # it has just begun, or just ended
        by = "another process"
    return f"{path.parent} is in use by {by}; wait for it, stop it, or give this run another run.name"
