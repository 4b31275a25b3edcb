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

from benchmark_shapes import Shape

TESTS = Path(__file__).resolve().parent


class WorkerError(Exception):
    """A worker could not go on; says why in a line."""


class Worker:
    """A process of `benchmark_worker.py`. `threads` None leaves the number to PyTorch."""

    def __init__(
        self, contender: str, shape: Shape | None, device: str, threads: int | None, peers: Path
    ) -> None:
        self.name = contender
        self.ready: dict[str, object] = {}
        order = {
            "contender": contender,
            "shape": None if shape is None else asdict(shape),
            "device": device,
            "peers": str(peers),
        }
        paths = [str(TESTS.parent), os.environ.get("PYTHONPATH", "")]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))}
        if threads is not None:
            environment["OMP_NUM_THREADS"] = str(threads)
        self._said = tempfile.TemporaryFile("w+", errors="replace")
        self._process = subprocess.Popen(
            [sys.executable, str(TESTS / "benchmark_worker.py"), json.dumps(order)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._said,
            text=True,
            env=environment,
        )

    def wait_until_ready(self) -> None:
        """Its model is built, compiled where it is to be, and warm."""
        self.ready = self._answer()

    def ask(self, what: str) -> dict[str, object]:
        """`turn` or `end`, see `benchmark_worker.py`. Raises WorkerError."""
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # why it ended is in what it said
            print(what, file=self._process.stdin, flush=True)
        return self._answer()

    def _answer(self) -> dict[str, object]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            self._said.seek(0)
            last = self._said.read().strip().splitlines() or ["no word"]
            raise WorkerError(f"ended with {self._process.wait()}: {last[-1][:200]}")
        words: dict[str, object] = json.loads(line)
        if "error" in words:
            raise WorkerError(str(words["error"]))
        return words

    def stop(self) -> None:
        """End it: without a line to read, it has nothing more to do."""
        assert self._process.stdin is not None
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
