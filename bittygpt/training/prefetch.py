"""Prefetching: a step never waits for its data."""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

from bittygpt.data.batches import Batch
from bittygpt.engine.capture import PINNING


class Prefetcher:
    """Makes the next batch in a thread, while the current one is trained on.

    Args:
        make: the batch of a number; a pure function, as it is called ahead of time.
        pin: whether to put batches into memory that a GPU copies from while it computes.
    """

    def __init__(self, make: Callable[[int], Batch], pin: bool) -> None:
        self._make, self._pin = make, pin
        self._thread = ThreadPoolExecutor(1, "prefetch")
        self._number = 0
        self._ahead: Future[Batch] | None = None

    def batch(self, number: int) -> Batch:
        """The batch of a number; that of the next number is begun. Raises what `make` raises."""
        if self._ahead is None or number != self._number:
            self._begin(number)  # the first one, or one after others were left out
        assert self._ahead is not None
        batch = self._ahead.result()
        self._begin(number + 1)
        return batch

    def _begin(self, number: int) -> None:
        self._number, self._ahead = number, self._thread.submit(self._pinned, number)

    def _pinned(self, number: int) -> Batch:
        batch = self._make(number)
        if not self._pin:
            return batch
        with PINNING:
            return Batch(batch.ids.pin_memory(), batch.targets.pin_memory())
