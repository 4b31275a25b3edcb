"""`bittygpt`, `python -m bittygpt`, and with it `torchrun … -m bittygpt`: exit codes, and how an error is printed."""

import gc
import json
import os
import socket
import sys
import traceback
from contextlib import suppress

from bittygpt.errors import BittyGPTError, DivergedError, InterruptedRunError, UsageError
from bittygpt.stop_signals import Interruption, interruption_was_raised, raise_on_signal


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
        if interruption_was_raised() and not isinstance(
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
    rank, local_rank = os.environ.get("RANK", "0"), os.environ.get("LOCAL_RANK", "0")
    if rank != "0":
        message = f"rank {rank} on {socket.gethostname()}: {message}"
    is_said_by_rank_0 = isinstance(error, InterruptedRunError | DivergedError)  # all have come to it together
    is_said_by_neighbour = (
        isinstance(error, UsageError) and local_rank != "0"
    )  # who sees the same files and devices
    if rank == "0" or not (is_said_by_rank_0 or is_said_by_neighbour):
        with suppress(OSError):  # the terminal may be gone; the exit code counts
            print(f"bittygpt: {message}", file=sys.stderr)
        if "--json" in sys.argv:
            print(json.dumps({"error": type(error).__name__, "message": message, "exit_code": code}))
    sys.exit(code)


if __name__ == "__main__":
    main()
