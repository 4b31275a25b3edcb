"""Worker processes: order, state, errors, and that they end with their caller."""

import os
import signal
import subprocess
import sys
import time

import pytest

from bittygpt.data.preparation.workers import Workers, available_cores
from bittygpt.errors import BittyGPTError, DataError


class Job:
    """Sums what it is given; refuses 13; dies at -1."""

    def __init__(self) -> None:
        self.total = 0

    def __call__(self, task: int) -> int:
        """Twice the task, later for the even ones."""
        if task == 13:
            raise DataError("thirteen")
        if task == -1:
            os.kill(os.getpid(), signal.SIGKILL)
        time.sleep(0.002 * (task % 2 == 0))
        self.total += task
        return 2 * task

    def sum(self) -> int:
        """Of all tasks so far."""
        return self.total


class UnpicklableError(Exception):
    """An error that does not survive the way back."""

    def __init__(self, a: int, b: int) -> None:
        super().__init__(f"{a} {b}")


def refuse(_: object) -> None:
    """Fail in a way of its own."""
    raise UnpicklableError(1, 2)


@pytest.mark.parametrize("number", [0, 1, 2, 5])
def test_results_come_in_the_order_of_the_tasks(number):
    with Workers(number) as workers:
        assert list(workers.map(Job(), (i + 100 for i in range(100)))) == [2 * i for i in range(100, 200)]
        assert sum(workers.collect("sum")) == sum(range(100, 200))
        assert list(workers.map(str, [1, 2, 3])) == ["1", "2", "3"]  # another job
        assert list(workers.map(str, [])) == []


@pytest.mark.parametrize("number", [0, 2])
def test_what_a_job_raises_is_raised_here(number):
    with pytest.raises(DataError, match="thirteen"), Workers(number) as workers:
        list(workers.map(Job(), range(1, 50)))


def test_an_error_that_cannot_be_sent_is_told_in_words():
    with pytest.raises(BittyGPTError, match="UnpicklableError: 1 2"), Workers(2) as workers:
        list(workers.map(refuse, [1]))


def test_a_worker_that_dies_is_said_to_have_died():
    with (
        pytest.raises(BittyGPTError, match=r"signal 9, as when memory is short.*data\.workers"),
        Workers(2) as workers,
    ):
        list(workers.map(Job(), [1, 2, -1, 3]))


def test_tasks_are_not_drawn_far_ahead_of_the_results():
    drawn = []
    tasks = (drawn.append(i) or i for i in range(100, 200))
    with Workers(2) as workers:
        results = workers.map(Job(), tasks)
        for delivered in range(20):
            next(results)
            assert len(drawn) <= delivered + 1 + 8
    assert len(drawn) < 40


def test_workers_end_when_their_caller_is_killed():
    code = (
        "import time, sys; from bittygpt.data.preparation.workers import Workers\n"
        "workers = Workers(2); print(*[p.pid for p, _ in workers._processes], flush=True); time.sleep(60)"
    )
    caller = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert caller.stdout is not None
    pids = [int(pid) for pid in caller.stdout.readline().split()]
    caller.kill()
    caller.communicate()
    deadline = time.monotonic() + 10
    while any(os.path.exists(f"/proc/{pid}/cmdline") and is_running(pid) for pid in pids):
        assert time.monotonic() < deadline
        time.sleep(0.01)


def is_running(pid):
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_there_is_a_core():
    assert available_cores() >= 1
