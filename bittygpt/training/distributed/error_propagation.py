"""An error on one rank ends all of them, with its message: a rank that waits for another one would wait for hours."""

import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import torch.distributed as dist

from bittygpt.errors import (
    BittyGPTError,
    DivergedError,
    InterruptedRunError,
    RankLostError,
    UsageError,
    exit_code_of,
)
from bittygpt.stop_signals import AGAIN, Interruption, end_at_once
from bittygpt.training.distributed.ranks import Ranks

LOOK_EVERY = 0.3  # seconds
PATIENCE = 5.0  # seconds that the cause of a broken connection, or the answer of rank 0, is waited for
_ERROR, _ACKNOWLEDGED = "bittygpt/error", "bittygpt/acknowledged"


@contextmanager
def propagate_errors(
    store: dist.Store | None, ranks: Ranks, on_error: Callable[[str, int], None]
) -> Iterator[None]:
    """Watch for the errors of other ranks, and tell them of the error that leaves the block.

    The first error counts. Rank 0 says it (with `on_error`), whoever made it, and every process ends with its code:
    at once, from a thread, as the main one may wait for a rank that is no more.
    """
    if store is None:
        yield
        return
    board = _ErrorStore(store, ranks, on_error)
    own = store.clone()  # type: ignore[attr-defined]  # a store of its own for each thread
    watcher = threading.Thread(target=board.watch, args=(own,), daemon=True)
    watcher.start()
    try:
        yield
    except (InterruptedRunError, DivergedError):
        raise  # all ranks have come to the same end together
    except Interruption:
        board.post(InterruptedRunError(AGAIN))
        raise
    except Exception as error:
        board.post(error)
        raise
    finally:
        board.is_done.set()
        watcher.join()


class _ErrorStore:
    def __init__(self, store: dist.Store, ranks: Ranks, on_error: Callable[[str, int], None]) -> None:
        self.store, self.ranks, self.on_error = store, ranks, on_error
        self.is_done = threading.Event()

    def watch(self, store: dist.Store) -> None:
        """Look at the board until the run is over; end this process when another one's error stands there."""
        while not self.is_done.wait(LOOK_EVERY):
            try:
                if not store.check([_ERROR]):
                    continue
                rank, code, message = json.loads(store.get(_ERROR))
            except (RuntimeError, ValueError):
                return  # the store has gone with its host: whatever ended it ends the connections, too
            if rank == self.ranks.rank:
                return
            try:
                if self.ranks.is_main:
                    with suppress(OSError):  # a full disk, a closed terminal: the end matters
                        self.on_error(message, code)
                    store.set(_ACKNOWLEDGED, "")
            finally:
                end_at_once(code)

    def post(self, error: Exception) -> None:
        """Tell the others, unless it is their error that is felt here: then wait for the watcher to end the process.

        Raises:
            RankLostError: another rank is gone, and left no word.
        """
        is_echo = not isinstance(error, BittyGPTError) and _is_broken_connection(error)
        if is_echo:
            # torchrun may ask this process to end meanwhile: then no word will come
            with suppress(Interruption):
                time.sleep(PATIENCE)
            error = RankLostError(
                f"rank {self.ranks.rank} lost its connection to another rank, which ended without a word (was it "
                f"killed, for want of memory perhaps?): {error}"
            )
        code = exit_code_of(error)
        if isinstance(error, UsageError) and not self.ranks.is_main:
            time.sleep(LOOK_EVERY)  # all ranks may have made the same mistake: then rank 0 is to say it
        place = "" if self.ranks.is_main or is_echo else f"rank {self.ranks.rank} on {socket.gethostname()}: "
        said = str(error) if isinstance(error, BittyGPTError) else f"{type(error).__name__}: {error}"
        mine = json.dumps([self.ranks.rank, code, place + said])
        try:
            first = self.store.compare_set(_ERROR, "", mine)
            if first.decode() != mine:
                time.sleep(PATIENCE)  # the watcher ends this process with the first one's message
            elif self.ranks.is_main:
                # the store may be this process's own: the others are to read it first
                time.sleep(2 * LOOK_EVERY)
            else:
                self._wait_for_acknowledgement()
                end_at_once(code)
        except (RuntimeError, ValueError):
            pass  # no store, no board; the error goes its usual way
        if is_echo:
            raise error

    def _wait_for_acknowledgement(self) -> None:
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            if self.store.check([_ACKNOWLEDGED]):
                return
            time.sleep(LOOK_EVERY / 3)
        raise RuntimeError("rank 0 does not answer")


def _is_broken_connection(error: Exception) -> bool:
    words = ("connection", "gloo", "nccl", "timed out", "socket")
    return isinstance(error, dist.DistError) or (
        isinstance(error, RuntimeError) and any(word in str(error).lower() for word in words)
    )
