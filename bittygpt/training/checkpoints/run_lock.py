"""The lock of a run's folder: one process trains a run, and a second one is told which."""

import json
import os
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path

from bittygpt.errors import RunInUseError
from bittygpt.file_lock import NAME, file_lock
from bittygpt.files import make_folder
from bittygpt.training.checkpoints.run_folder import RunFolder

PATIENCE = 3.0  # seconds: a killed holder needs a moment to be gone


@contextmanager
def run_lock(folder: Path) -> Iterator[None]:
    """Hold a run's folder; the file of the lock says who holds it.

    Raises:
        RunInUseError: another process holds it, and still does after `PATIENCE` seconds.
    """
    path, deadline = folder / NAME, time.monotonic() + PATIENCE

    def refuse_in_the_end() -> None:
        if time.monotonic() > deadline:
            raise RunInUseError(_in_use_message(path))

    with file_lock(path, refuse_in_the_end) as file:
        holder = {
            "pid": os.getpid(),
            "host": socket.gethostname(),
            "since": f"{datetime.now():%Y-%m-%d %H:%M}",
        }
        with suppress(OSError):  # a full disk: the lock holds all the same
            os.truncate(file, 0)
            os.pwrite(file, json.dumps(holder).encode(), 0)
        yield


@contextmanager
def open_run(run: RunFolder, fresh: bool, say: Callable[[str], None]) -> Iterator[None]:
    """Make a run's folder and hold it; if it is to be a fresh one, the old one is kept beside it.

    Raises:
        RunInUseError: another process holds it.
        DataError: it cannot be made.
    """
    if fresh and run.path.exists():
        with run_lock(run.path):
            old = run.move_to_backup()
            (old / NAME).unlink()
        say(f"the old run is kept as {old}")
    make_folder(run.path, "run.dir")
    with run_lock(run.path):
        yield


def _in_use_message(path: Path) -> str:
    try:
        holder = json.loads(path.read_text("utf-8"))
        by = f"process {holder['pid']} on {holder['host']} since {holder['since']}"
    except (OSError, ValueError, KeyError, TypeError):  # it has just begun, or just ended
        by = "another process"
    return f"{path.parent} is in use by {by}; wait for it, stop it, or give this run another run.name"
