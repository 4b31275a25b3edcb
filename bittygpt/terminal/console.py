"""Log lines go to stderr, results to stdout. In a pipe there are no colours, bars or cursor moves, only plain lines."""

import os
import sys
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console


def log_console() -> "Console":
    """A console on stderr that is plain unless stderr is a terminal."""
    from rich.console import Console  # 30 ms, which `log` in a pipe does without

    is_terminal = sys.stderr.isatty()  # and not what FORCE_COLOR and the like claim
    return Console(stderr=True, highlight=False, soft_wrap=not is_terminal, force_terminal=is_terminal)


def draws() -> bool:
    """Whether stderr is a terminal that can move its cursor; others get plain lines, as a pipe does."""
    return sys.stderr.isatty() and os.environ.get("TERM", "").lower() not in ("dumb", "unknown")


def log(message: str) -> None:
    """Print a line for the reader on stderr, or nothing where nobody reads any more (a closed terminal or pipe)."""
    with suppress(OSError):
        if sys.stderr.isatty():
            log_console().print(message, markup=False)
        else:
            print(message, file=sys.stderr, flush=True)


def result(text: str) -> None:
    """Print a line of the result on stdout. Where its reader has gone (head, less), the command goes on.

    Its work is done by then, or worth more than its reader: nothing about the exit code changes.
    """
    try:
        result_while_read(text)
    except BrokenPipeError:
        forget_reader()


def result_while_read(text: str) -> None:
    """The same for a command that has nothing left to do when its reader has gone: raises BrokenPipeError."""
    print(text, flush=True)


def result_of_run(text: str) -> None:
    """The same from a run, which goes on for long without its reader, and says so."""
    try:
        result_while_read(text)
    except BrokenPipeError:
        forget_reader()
        log("nobody reads stdout any more; the run goes on")


def forget_reader() -> None:
    """Send all further output nowhere, so that printing cannot fail."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def printable(text: str) -> str:
    """The text with U+FFFD for control characters, so that it moves no cursor."""
    return "".join(char if char.isprintable() else "\ufffd" for char in text)


def duration(seconds: float) -> str:
    """Seconds as a person says them: 45 s, 3 min 20 s, 2 h 05 min, 3 d 4 h."""
    whole = max(0, round(seconds))
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    if whole < 86400:
        return f"{whole // 3600} h {whole % 3600 // 60:02d} min"
    return f"{whole // 86400} d {whole % 86400 // 3600} h"
