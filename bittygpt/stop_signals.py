"""SIGINT and SIGTERM: outside of the training loop an end, within it a wish. Asked twice, the process ends at once."""

import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn

SIGNALS = (signal.SIGINT, signal.SIGTERM)
_ECHO = 1.0  # seconds: torchrun passes on to its processes a Ctrl-C that they have had from the terminal themselves

_received: list[float] = []  # when signals came, while this process ran


class Interruption(BaseException):
    """A signal came. No Exception: code that goes on after any error must not go on after this."""


def raise_on_signal() -> None:
    """From now on a signal ends what is being done with an `Interruption`: all is in place that was finished."""

    def handle(number: int, _frame: FrameType | None) -> None:
        if _is_first(number):
            raise Interruption

    for number in SIGNALS:
        signal.signal(number, handle)


@contextmanager
def stop_on_signal(on_first: Callable[[], None]) -> Iterator[Callable[[], bool]]:
    """Within it, a signal is a wish that what runs looks for with the function that is given.

    `on_first` is called in the signal handler, so it must not write to a stream that may be in use.
    """

    def handle(number: int, _frame: FrameType | None) -> None:
        if _is_first(number):
            on_first()

    before = {number: signal.signal(number, handle) for number in SIGNALS}
    try:
        yield lambda: bool(_received)  # an Interruption that was lost in the code of a library is one, too
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def end_at_once(code: int) -> NoReturn:
    """End this process, whatever its other threads do; but leave the terminal as it was found."""
    if sys.stderr.isatty():
        os.write(2, b"\x1b[?25h\n")  # the live display has hidden the cursor
    sys.stderr.flush()
    os._exit(code)


def _is_first(number: int) -> bool:
    """Take note of a signal; does not return from a second one."""
    now = time.monotonic()
    is_first = not _received
    if not is_first and ("TORCHELASTIC_RUN_ID" not in os.environ or now - _received[0] > _ECHO):
        end_at_once(128 + number)
    _received.append(now)
    return is_first
