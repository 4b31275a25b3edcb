"""The workers of `make bench` as seen from the process that prints the table: started, asked in turn, ended."""

import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict
from pathlib import Path

from shapes import Shape

HERE = Path(__file__).resolve().parent
REPOSITORY = HERE.parents[1]


class Worker:
    """A process of `worker.py`. `threads` None leaves the number to PyTorch.

    What cannot go on says why in `error`; the others go on without it.
    """

    def __init__(
        self, contender: str, shape: Shape | None, device: str, threads: int | None, peers: Path
    ) -> None:
        self.name, self.error = contender, ""
        self.ready: dict = {}
        self.turns: list[dict] = []
        self.end: dict = {}
        order = {
            "contender": contender,
            "shape": None if shape is None else asdict(shape),
            "device": device,
            "peers": str(peers),
        }
        paths = [str(REPOSITORY), os.environ.get("PYTHONPATH", "")]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))}
        if threads is not None:
            environment["OMP_NUM_THREADS"] = str(threads)
        self._said = tempfile.TemporaryFile("w+", errors="replace")
        self._process = subprocess.Popen(
            [sys.executable, str(HERE / "worker.py"), json.dumps(order)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._said,
            text=True,
            env=environment,
        )

    def wait_until_ready(self) -> None:
        """Its model is built, compiled where it is to be, and warm."""
        self.ready = self._answer()

    def take_turn(self, details: str = "") -> None:
        """Some steps, timed."""
        self.turns.append(self._ask(f"turn {details}"))

    def take_stock(self) -> None:
        """The memory that it took, and where its time went."""
        self.end = self._ask("end")

    def _ask(self, what: str) -> dict:
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # why it ended is in what it said
            print(what, file=self._process.stdin, flush=True)
        return self._answer()

    def _answer(self) -> dict:
        assert self._process.stdout is not None
        if line := self._process.stdout.readline():
            words: dict = json.loads(line)
            self.error = words.get("error", "")
            return words
        self._said.seek(0)
        last = self._said.read().strip().splitlines() or ["no word"]
        self.error = f"ended with {self._process.wait()}: {last[-1][:200]}"
        return {}

    def stop(self) -> None:
        """End it: without a line to read, it has nothing more to do."""
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # of a worker that was killed: the line it never read
            self._process.stdin.close()
        try:
            self._process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            self._process.kill()
        self._process.wait()
        self._said.close()


class Progress:
    """A line on stderr that says what is being done; on a terminal it is written over, else one follows another."""

    def __init__(self) -> None:
        self.start = time.perf_counter()

    def say(self, text: str) -> None:
        """What is being done now."""
        seconds = time.perf_counter() - self.start
        line = f"[{seconds // 60:.0f}:{seconds % 60:02.0f}] {text}"
        over = sys.stderr.isatty()
        print(f"\r\033[K{line}" if over else line, end="" if over else "\n", file=sys.stderr, flush=True)

    def print(self, text: str) -> None:
        """Lines of the table, on stdout."""
        if sys.stderr.isatty():
            print("\r\033[K", end="", file=sys.stderr, flush=True)
        print(text, flush=True)
