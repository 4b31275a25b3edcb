"""`bittygpt`, `python -m bittygpt`, and with it `torchrun … -m bittygpt`: exit codes, and how an error is printed."""

import gc
import json
import os
import sys
import traceback
from contextlib import suppress

from bittygpt.errors import BittyGPTError, DivergedError, InterruptedRunError, UsageError
from bittygpt.stop_signals import Interruption, raise_on_signal, stop_was_asked


def main() -> None:
    """Run the program and end with the exit code of CONTRACT: a BittyGPTError's own, 1 for anything else."""
    try:
        raise_on_signal()  # before all that takes time to import
        gc.set_threshold(100_000)  # of 700: else a tenth of a short command goes into looking for cycles
        from bittygpt.cli import app

        app()
    except Interruption:
        _exit_with(InterruptedRunError("interrupted; run the same command again"))
    except Exception as error:
        if stop_was_asked() and not isinstance(
            error, BittyGPTError
        ):  # a library that was interrupted in its import
            error = InterruptedRunError("interrupted; run the same command again")
        _exit_with(error)


def _exit_with(error: Exception) -> None:
    """One message on stderr, with --json also as an object on stdout; a traceback only with BITTYGPT_DEBUG=1."""
    if os.environ.get("BITTYGPT_DEBUG") == "1":
        traceback.print_exception(error)
    code = error.exit_code if isinstance(error, BittyGPTError) else 1
    expected = isinstance(error, BittyGPTError | OSError)
    message = str(error) if expected else f"{type(error).__name__}: {error}\n(BITTYGPT_DEBUG=1 shows where)"
    is_everyones = isinstance(error, UsageError | InterruptedRunError | DivergedError)
    if not is_everyones or os.environ.get("RANK", "0") == "0":  # one rank says what all have come to
        with suppress(OSError):  # the terminal may be gone; the exit code counts
            print(f"bittygpt: {message}", file=sys.stderr)
        if "--json" in sys.argv:
            print(json.dumps({"error": type(error).__name__, "message": message, "exit_code": code}))
    sys.exit(code)


if __name__ == "__main__":
    main()
