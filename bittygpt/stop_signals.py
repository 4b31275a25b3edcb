"""How Ctrl-C, SIGTERM and a closed terminal end a program: at once, or in the training loop after the step in hand.

The exit code is that of `errors.InterruptedRunError`; `__main__.py` ends with it.
"""

import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
# Seconds. torchrun passes on to its processes a Ctrl-C that they have had from the terminal themselves, and a shell its
# SIGHUP: that is no second wish.
_ECHO = 1.0
_TWIN = 0.05  # `timeout` signals its child and then its whole process group

_received: list[int] = []  # by this process, since it began
_raised: list[int] = []  # those that an Interruption was raised for
_taken: set[int] = set()  # those that someone answers himself, and may get any number of times

AGAIN = "interrupted; run the same command again"  # what is said where nothing more is known


class Interruption(BaseException):
    """A signal came. No Exception: code that goes on after any error must not go on after this."""


def raise_on_signal() -> None:
    """From now on a signal ends what is being done with an `Interruption`: all is in place that was finished.

    A thread waits for the second one. The handler itself could not always answer: Python calls it in the main thread,
    which may be in a computation or waiting for another rank.
    """

    def handle(number: int, _frame: FrameType | None) -> None:
        _received.append(number)
        if len(_received) == 1:
            _raised.append(number)
            raise Interruption

    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    threading.Thread(target=_end_on_second, args=(reading,), daemon=True).start()
    for number in _obeyed():
        signal.signal(number, handle)


def let_end() -> None:
    """All is done and the exit code is known: no signal is to change it, but a second one still ends at once."""
    for number in _obeyed():
        signal.signal(number, lambda number, _frame: _received.append(number))


def _obeyed() -> list[signal.Signals]:
    """All, but SIGHUP only if `nohup` has not said that it is to be ignored."""
    is_ignored = signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    return [number for number in SIGNALS if number != signal.SIGHUP or not is_ignored]


def _end_on_second(reading: int) -> None:
    first: float | None = None
    while number := os.read(reading, 1)[0]:
        if number not in SIGNALS or number in _taken:
            continue
        now = time.monotonic()
        may_be_echo = number == signal.SIGHUP or "TORCHELASTIC_RUN_ID" in os.environ
        if first is not None and now - first > (_ECHO if may_be_echo else _TWIN):
            end_at_once(128 + number)
        first = now if first is None else first


@contextmanager
def stop_on_signal(on_first: Callable[[], None]) -> Iterator[Callable[[], bool]]:
    """Within it, a signal is a wish that what runs looks for with the function that is given.

    `on_first` is called in the signal handler, so it must not write to a stream that may be in use.
    """

    def handle(number: int, _frame: FrameType | None) -> None:
        _received.append(number)
        if len(_received) == 1:
            on_first()

    before = {number: signal.signal(number, handle) for number in _obeyed()}
    try:
        yield stop_was_asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def take_ctrl_c(on_ctrl_c: Callable[[], None]) -> Iterator[None]:
    """Within it, a SIGINT calls `on_ctrl_c`, as often as it comes, and ends nothing."""
    before = signal.signal(signal.SIGINT, lambda _number, _frame: on_ctrl_c())
    _taken.add(signal.SIGINT)
    try:
        yield
    finally:
        _taken.discard(signal.SIGINT)
        signal.signal(signal.SIGINT, before)


def stop_was_asked() -> bool:
    """Whether a signal has come, also if its `Interruption` was lost in the code of a library."""
    return bool(_received)


def interruption_was_raised() -> bool:
    """Whether what runs was broken off in a place that it may not know."""
    return bool(_raised)


def end_at_once(code: int) -> NoReturn:
    """End this process, whatever its other threads do; but leave the terminal as it was found."""
    if sys.stderr.isatty():
        os.write(2, b"\x1b[?25h\n")  # the live display has hidden the cursor
    sys.stderr.flush()
    os._exit(code)
