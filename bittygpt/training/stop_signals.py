"""SIGINT and SIGTERM as a wish: the run saves a checkpoint first. Asked twice, it ends at once."""

import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType


@contextmanager
def stop_on_signal(on_first: Callable[[], None]) -> Iterator[list[int]]:
    """SIGINT and SIGTERM put their number into the list; a second one ends the process at once.

    `on_first` is called in the signal handler, so it must not write to a stream that may be in use.
    """
    received: list[int] = []

    def handle(number: int, _frame: FrameType | None) -> None:
        if received:
            if sys.stderr.isatty():
                os.write(2, b"\x1b[?25h\n")  # the live display has hidden the cursor
            os._exit(128 + number)
        received.append(number)
        on_first()

    before = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield received
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
