"""`bittygpt sample --interactive` on a terminal: lines, history, Ctrl-C and Ctrl-D; and in a pipe."""

import os
import pty
import re
import select
import subprocess
import sys
import time

import pytest

ENDLESS = ("--max-tokens", "1000000", "--ignore-eos", "--temperature", "1")
ON_ITS_OWN_TERMINAL = """
import fcntl, os, sys, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
os.execv(sys.executable, [sys.executable, "-m", "bittygpt", *sys.argv[1:]])
"""


class Terminal:
    """The program on a terminal of its own, of 40 columns."""

    def __init__(self, folder, *flags):
        self.mine, theirs = pty.openpty()
        command = [
            sys.executable,
            "-c",
            ON_ITS_OWN_TERMINAL,
            "sample",
            "--ckpt",
            "runs/tiny",
            "--interactive",
        ]
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "TERM": "xterm", "COLUMNS": "40"}
        environment["XDG_STATE_HOME"] = str(folder / "state")
        self.process = subprocess.Popen(
            [*command, "--device", "cpu", *flags],
            cwd=folder,
            env=environment,
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            start_new_session=True,
        )
        os.close(theirs)
        self.seen = ""

    def type(self, keys):
        time.sleep(0.2)  # nobody is faster; before it has begun to wait, `input` may miss a signal
        os.write(self.mine, keys.encode())

    def wait_for(self, pattern):
        """Read until the pattern shows after what was waited for before; gives the text up to its end."""
        deadline = time.monotonic() + 20
        while not (found := re.search(pattern, self.seen, re.DOTALL)):
            ready, _, _ = select.select([self.mine], [], [], max(0, deadline - time.monotonic()))
            assert ready, f"no {pattern!r} in {self.seen!r}"
            self.seen += os.read(self.mine, 4096).decode(errors="replace")
        text, self.seen = self.seen[: found.end()], self.seen[found.end() :]
        return text

    def end(self):
        code = self.process.wait(timeout=60)
        os.close(self.mine)
        return code


@pytest.fixture
def terminal(run):
    """A function that starts the program; `run` is the folder with the checkpoint."""
    started = []

    def start(*flags):
        started.append(Terminal(run.parents[1], *flags))
        return started[-1]

    yield start
    for one in started:
        if one.process.poll() is None:
            one.process.kill()
            one.process.wait()


def test_ctrl_c_stops_texts_again_and_again_and_ctrl_d_leaves(terminal):
    here = terminal(*ENDLESS)
    here.wait_for("Ctrl-D leaves.*> ")
    for line in ("The owl", "The fox"):
        here.type(f"{line}\n")
        here.wait_for(f"{line}.{{60}}")
        here.type("\x03")
        here.wait_for(r"[\d,]+ tokens in [\d.]+ s, [\d,]+ tokens/s.*> ")
    here.type("half a line")
    here.wait_for("half a line")
    here.type("\x03")  # at the prompt it throws the line away
    here.type("The end\n")
    assert "half" not in here.wait_for("The end.{60}")
    here.type("\x03")
    here.wait_for("tokens/s.*> ")
    here.type("\x04")
    assert here.end() == 0


def test_history_stays_from_one_time_to_the_next_and_lines_can_be_edited(terminal, run):
    first = terminal("--max-tokens", "3")
    first.wait_for("> ")
    first.type("The oxl\x1b[D\x08w\n")  # a step to the left, one letter back: "owl" is made of "oxl"
    first.wait_for("tokens/s.*> ")
    first.type("\x04")
    assert first.end() == 0
    history = run.parents[1] / "state/bittygpt/history"
    assert history.read_text().splitlines()[-1] == "The owl"
    assert history.stat().st_mode & 0o077 == 0
    second = terminal("--max-tokens", "3")
    second.wait_for("> ")
    second.type("\x1b[A\n")  # the upward arrow
    second.wait_for("The owl.*tokens/s.*> ")
    second.type("\x04")
    assert second.end() == 0


def test_sigterm_still_ends_it(terminal):
    here = terminal(*ENDLESS)
    here.wait_for("> ")
    here.type("The owl\n")
    here.wait_for("The owl.{60}")
    here.process.terminate()
    here.wait_for("interrupted")
    assert here.end() == 75


def in_a_pipe(folder, lines, *flags):
    command = [sys.executable, "-m", "bittygpt", "sample", "--ckpt", "runs/tiny", *flags]
    return subprocess.run(
        [*command, "--device", "cpu"], cwd=folder, input=lines, capture_output=True, text=True, check=True
    )


def test_in_a_pipe_each_line_is_continued_and_an_empty_one_goes_on(run):
    folder = run.parents[1]
    flags = ("--max-tokens", "8", "--ignore-eos", "--stop", "\n")
    both = in_a_pipe(folder, "The owl\n\n", "--interactive", *flags)
    first, second = both.stdout.split("\n")[:2]
    alone = in_a_pipe(folder, "The owl", *flags)
    assert alone.stdout == f"The owl{first}\n"
    assert "> " not in both.stdout
    greedy = (*flags, "--temperature", "0")
    first, second = in_a_pipe(folder, "The owl\n\n", "--interactive", *greedy).stdout.split("\n")[:2]
    assert in_a_pipe(folder, f"The owl{first}", *greedy).stdout == f"The owl{first}{second}\n"
    assert both.stderr.count("tokens/s") == 2


def test_the_same_line_again_brings_another_text(run):
    flags = ("--interactive", "--max-tokens", "20", "--ignore-eos", "--temperature", "2")
    lines = in_a_pipe(run.parents[1], "The owl\nThe owl\n", *flags)
    texts = re.split(r"\n", lines.stdout)
    assert texts[0] != texts[1]
