"""Processes that share out a stream of tasks and give the results back in order.

Each worker is a Python of its own on the other end of a socket: nothing is forked, so it does not matter which
threads or devices the calling program holds, and when the caller dies, by whatever signal, the socket closes and
the workers end.
"""

import ctypes
import os
import pickle
import signal
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from itertools import count
from multiprocessing import Pipe
from multiprocessing.connection import Connection, wait
from typing import Any, TypeVar

from bittygpt.errors import BittyGPTError

Task = TypeVar("Task")
Result = TypeVar("Result")

_SERVE = "import sys; sys.path[:] = {path!r}; from bittygpt.data.preparation.workers import serve; serve({descriptor})"
_AHEAD = 3  # results per worker that may wait for an earlier one
_TASKS_UNTIL_TRIM = 8


def available_cores() -> int:
    """The processor cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class Workers:
    """A number of worker processes; with fewer than two, the work is done in this process.

    Use it as a context manager, or the processes stay until the program ends.
    """

    def __init__(self, number: int) -> None:
        self._jobs: list[Callable[[Any], Any]] = []  # of this process
        self._processes: list[tuple[subprocess.Popen[bytes], Connection]] = []
        for _ in range(number if number > 1 else 0):
            ours, theirs = Pipe()
            code = _SERVE.format(path=sys.path, descriptor=theirs.fileno())
            command = [sys.executable, "-c", code]
            process = subprocess.Popen(command, pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL)
            self._processes.append((process, ours))
            theirs.close()

    def __enter__(self) -> "Workers":
        return self

    def __exit__(self, kind: type[BaseException] | None, *_rest: object) -> None:
        for process, connection in self._processes:
            connection.close()
            if kind is not None:
                process.kill()  # its work is of no use any more
        for process, _ in self._processes:
            process.wait()

    def map(self, job: Callable[[Task], Result], tasks: Iterable[Task]) -> Iterator[Result]:
        """`job(task)` for each task, in the order of the tasks; a bounded number of them is under way.

        Every worker has a copy of the job, which may keep something from task to task (see `collect`).

        Raises:
            BittyGPTError: a worker has died.
        """
        if not self._processes:
            self._jobs = [job]
            yield from map(job, tasks)
            return
        for process, connection in self._processes:
            self._send(process, connection, job)
        yield from _InOrder(self, self._processes, iter(tasks))

    def collect(self, method: str) -> list[Any]:
        """What this method of every worker's copy of the last job gives; call it after `map` is through."""
        if not self._processes:
            return [getattr(job, method)() for job in self._jobs]
        for process, connection in self._processes:
            self._send(process, connection, method)
        return [self.receive(process, connection) for process, connection in self._processes]

    def _send(self, process: subprocess.Popen[bytes], connection: Connection, message: object) -> None:
        try:
            connection.send(message)
        except OSError:
            raise _death(process) from None

    def submit(self, process: subprocess.Popen[bytes], connection: Connection, task: object) -> None:
        """Hand a worker its next task."""
        self._send(process, connection, (task,))

    def receive(self, process: subprocess.Popen[bytes], connection: Connection) -> Any:
        """A worker's answer; what it raised is raised here."""
        try:
            good, value = connection.recv()
        except (OSError, EOFError):
            raise _death(process) from None
        if not good:
            raise value
        return value


class _InOrder:
    """The results of one `map`, put back into the order of the tasks. A worker has one task at a time, so that
    neither side ever waits to write while the other does."""

    def __init__(
        self,
        workers: Workers,
        processes: list[tuple[subprocess.Popen[bytes], Connection]],
        tasks: Iterator[Any],
    ) -> None:
        self._workers, self._tasks = workers, tasks
        self._idle = list(processes)
        self._busy: dict[Connection, tuple[subprocess.Popen[bytes], int]] = {}
        self._results: dict[int, Any] = {}
        self._submitted = self._delivered = 0
        self._most = _AHEAD * len(processes)
        self._exhausted = False

    def __iter__(self) -> Iterator[Any]:
        while True:
            self._give_work()
            if self._delivered in self._results:
                result = self._results.pop(self._delivered)
                self._delivered += 1
                yield result
                self._take_results(timeout=0)
            elif self._busy:
                self._take_results(timeout=None)
            else:
                return

    def _give_work(self) -> None:
        while self._idle and not self._exhausted and self._submitted - self._delivered < self._most:
            try:
                task = next(self._tasks)
            except StopIteration:
                self._exhausted = True
                return
            process, connection = self._idle.pop()
            self._workers.submit(process, connection, task)
            self._busy[connection] = process, self._submitted
            self._submitted += 1

    def _take_results(self, timeout: float | None) -> None:
        for connection in wait(list(self._busy), timeout):
            assert isinstance(connection, Connection)
            process, number = self._busy.pop(connection)
            self._results[number] = self._workers.receive(process, connection)
            self._idle.append((process, connection))


def _death(process: subprocess.Popen[bytes]) -> BittyGPTError:
    code = process.wait()
    how = f"was ended by signal {-code}, as when memory is short" if code < 0 else f"ended with code {code}"
    return BittyGPTError(f"a worker process {how}; run the same command again, with a lower data.workers")


def serve(descriptor: int) -> None:
    """The worker's side: takes jobs, tasks and names of methods until the caller is gone."""
    for stop in (signal.SIGINT, signal.SIGTERM):
        signal.signal(stop, signal.SIG_IGN)  # the caller decides, and the socket tells
    connection = Connection(descriptor)
    job: Any = None
    for number in count(1):
        if number % _TASKS_UNTIL_TRIM == 0:
            _give_back_memory()
        try:
            message = connection.recv()
            if callable(message):
                job = message
                continue
            connection.send(_answer(job, message))
        except (EOFError, OSError):
            return


def _give_back_memory() -> None:
    """Freed memory goes back to the system. glibc keeps it, in pieces that fit nothing later: a worker would grow with
    the size of the corpus."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


def _answer(job: Any, message: Any) -> tuple[bool, Any]:
    try:
        return True, getattr(job, message)() if isinstance(message, str) else job(message[0])
    except Exception as error:
        try:
            pickle.loads(pickle.dumps(error))
        except Exception:
            return False, BittyGPTError(f"{type(error).__name__}: {error}")
        return False, error
