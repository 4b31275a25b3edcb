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
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import count
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from queue import SimpleQueue
from typing import Any, TypeVar

from bittygpt.errors import BittyGPTError

Task = TypeVar("Task")
Result = TypeVar("Result")
Worker = tuple[subprocess.Popen[bytes], Connection]

_SERVE = "import sys; sys.path[:] = {path!r}; from bittygpt.data.preparation.workers import serve; serve({descriptor})"
_AHEAD = 3  # tasks per worker that are under way, or done and waiting for an earlier one
_TASKS_UNTIL_TRIM = 8


def available_cores() -> int:
    """The processor cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class Workers:
    """A number of worker processes; with fewer than two, the work is done in this process.

    Use it as a context manager, or the processes stay until the program ends.
    """

    def __init__(self, number: int) -> None:
        self._job: Any = None  # of this process
        self._processes: list[Worker] = []
        for _ in range(number if number > 1 else 0):
            ours, theirs = Pipe()
            code = _SERVE.format(path=sys.path, descriptor=theirs.fileno())
            command = [sys.executable, "-c", code]
            process = subprocess.Popen(command, pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL)
            self._processes.append((process, ours))
            theirs.close()
        self._threads = ThreadPoolExecutor(max(1, number))  # one waits for each worker

    def __enter__(self) -> "Workers":
        return self

    def __exit__(self, kind: type[BaseException] | None, *_rest: object) -> None:
        if kind is not None:
            for process, _ in self._processes:
                process.kill()  # its work is of no use any more
        self._threads.shutdown(cancel_futures=True)
        for process, connection in self._processes:
            connection.close()
            process.wait()

    def map(self, job: Callable[[Task], Result], tasks: Iterable[Task]) -> Iterator[Result]:
        """`job(task)` for each task, in the order of the tasks; a bounded number of them is under way.

        Every worker has a copy of the job, which may keep something from task to task (see `collect`).

        Raises:
            BittyGPTError: a worker has died.
        """
        if not self._processes:
            self._job = job
            yield from map(job, tasks)
            return
        for worker in self._processes:
            _send(worker, job)
        idle: SimpleQueue[Worker] = SimpleQueue()
        for worker in self._processes:
            idle.put(worker)

        def do(task: Task) -> Result:
            worker = idle.get()  # there is one: so many threads, so many workers
            try:
                result: Result = _ask(worker, (task,))
            finally:
                idle.put(worker)
            return result

        pending: deque[Future[Result]] = deque()
        for task in tasks:
            pending.append(self._threads.submit(do, task))
            if len(pending) > _AHEAD * len(self._processes):
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()

    def collect(self, method: str) -> list[Any]:
        """What this method of every worker's copy of the last job gives; call it after `map` is through."""
        if not self._processes:
            return [getattr(self._job, method)()]
        return [_ask(worker, method) for worker in self._processes]


def _send(worker: Worker, message: object) -> None:
    try:
        worker[1].send(message)
    except OSError:
        raise _death(worker[0]) from None


def _ask(worker: Worker, message: object) -> Any:
    """A worker's answer; what it raised is raised here."""
    _send(worker, message)
    try:
        good, value = worker[1].recv()
    except (OSError, EOFError):
        raise _death(worker[0]) from None
    if not good:
        raise value
    return value


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
