"""`bittygpt`, `python -m bittygpt`, `torchrun … -m bittygpt`: exit codes (75 after Ctrl-C) and how errors are shown."""

import atexit
import gc
import io
import json
import os
import socket
import sys
import traceback
import warnings
from contextlib import suppress
from typing import Any, NoReturn

from bittygpt.errors import (
    BittyGPTError,
    DiskFullError,
    DivergedError,
    InterruptedRunError,
    UsageError,
    exit_code_of,
)
from bittygpt.files import is_disk_full
from bittygpt.stop_signals import AGAIN, Interruption, interruption_was_raised, let_end, raise_on_signal


def main() -> NoReturn:
    """Run the program and end with the exit code of CONTRACT: a BittyGPTError's own, 1 for anything else.

    Python would take itself down for a tenth of a second, longer with torch, and a second Ctrl-C would kill a process
    that has just saved. So it ends without that, once what libraries have asked for (`atexit`) is done.
    """
    code = _run()
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError):
            stream.flush()
    os._exit(code)


def _run() -> int:
    try:
        raise_on_signal()  # before all that takes time to import
        open_streams()
        warn_in_a_line()
        gc.set_threshold(100_000)  # of 700: else a tenth of a short command goes into looking for cycles
        os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "true")  # it would search all packages for them
        share_cores()
        from bittygpt.cli import app

        code = app(standalone_mode=False)
        return code if isinstance(code, int) else 0
    except SystemExit as ended:
        return ended.code if isinstance(ended.code, int) else 0
    except Interruption:
        outcome: Exception = InterruptedRunError(AGAIN)
    except Exception as error:
        # A library that was interrupted in its import may have passed over that, and fail later.
        is_aftermath = interruption_was_raised() and not isinstance(error, BittyGPTError)
        outcome = InterruptedRunError(AGAIN) if is_aftermath else error
    finally:
        let_end()
    return _report(outcome)


def open_streams() -> None:
    """Where the caller has closed a stream (`>&-`), nobody reads; what a stream has no letter for is escaped.

    In the order of their numbers, as the next file that is opened gets the first number that is free: it must be this.
    """
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))
        elif mode == "w" and isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def warn_in_a_line() -> None:
    """Our own warnings without the line of code that they come from, which is for those who import us."""
    as_ever, ours = warnings.formatwarning, os.path.dirname(__file__)

    def formatted(message: Warning | str, kind: type[Warning], file: str, *more: Any) -> str:
        return f"{message}\n" if file.startswith(ours) else as_ever(message, kind, file, *more)

    warnings.formatwarning = formatted  # type: ignore[assignment]


def share_cores() -> None:
    """Have PyTorch's threads sleep when there has been nothing to do for about half a millisecond; before its import.

    By themselves they turn round and round for many milliseconds, and hold the core that another program's threads,
    for which they may be waiting, are waiting for: two runs on the same cores then take many times as long, not two.
    """
    # elsewhere a turn takes next to no time, and they would sleep between all operations
    if sys.platform == "linux" and os.uname().machine == "x86_64" and "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", "10000")


def _report(error: Exception) -> int:
    """One message on stderr, with --json also as an object on stdout; a traceback only with BITTYGPT_DEBUG=1."""
    if os.environ.get("BITTYGPT_DEBUG") == "1":
        traceback.print_exception(error)
    if hasattr(error, "format_message"):  # Typer's own, of a wrong flag, whose classes it does not export
        error.show()  # type: ignore[attr-defined]
        _print_json("UsageError", error.format_message(), UsageError.exit_code)
        return UsageError.exit_code
    if isinstance(error, OSError):
        error = _in_words(error)
    code = exit_code_of(error)
    expected = isinstance(error, BittyGPTError | OSError)
    message = str(error) if expected else f"{type(error).__name__}: {error}\n(BITTYGPT_DEBUG=1 shows where)"
    rank, local_rank = os.environ.get("RANK", "0"), os.environ.get("LOCAL_RANK", "0")
    if rank != "0":
        message = f"rank {rank} on {socket.gethostname()}: {message}"
    is_said_by_rank_0 = isinstance(error, InterruptedRunError | DivergedError)  # all have come to it together
    # the first process of the machine sees the same files and devices
    is_said_by_neighbour = isinstance(error, UsageError) and local_rank != "0"
    if rank == "0" or not (is_said_by_rank_0 or is_said_by_neighbour):
        with suppress(OSError):  # the terminal may be gone; the exit code counts
            print(f"bittygpt: {message}", file=sys.stderr)
        _print_json(type(error).__name__, message, code)
    return code


def _in_words(error: OSError) -> Exception:
    """What the user can do something about, in words; the rest as the system says it."""
    where = error.filename or "standard output, or a temporary file"
    if isinstance(error, PermissionError):
        return UsageError(
            f"{where}: permission denied; give this user the right to it, or name another place"
        )
    if is_disk_full(error):
        return DiskFullError(f"{where}: {error.strerror}; make room, and run the same command again")
    return error


def _print_json(name: str, message: str, code: int) -> None:
    """An error for a program to read, if that was asked for."""
    if "--json" in sys.argv:
        print(json.dumps({"error": name, "message": message, "exit_code": code}))


if __name__ == "__main__":
    main()
