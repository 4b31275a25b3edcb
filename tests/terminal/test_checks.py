"""How checks are shown: marks on a terminal of any width, plain lines in a pipe, all on stderr beside JSON."""

import io
import re
import sys

import pytest

from bittygpt.checks.outcome import Outcome
from bittygpt.terminal.checks import ChecksDisplay

OUTCOMES = [
    Outcome("parts", "a", "Linear equals torch's", "passed", "differs by 0 (limit 2e-05)", "bittygpt/a.py", 0.1),
    Outcome("parts", "b", "RMSNorm equals torch's, tiny vectors, too", "failed", "differs by 3", "bittygpt/b.py", 0),
    Outcome("parts", "d", "RoPE leaves position 0 as it is", "changed", "you changed core/d.py", "bittygpt/d.py", 0),
    Outcome("data", "c", "data.dir's tokens fit their vocabulary", "skipped", "there are none", "bittygpt/c.py", 0),
]  # fmt: skip


def show(is_quiet=False):
    with ChecksDisplay(is_quiet) as display:
        display.note("smaller")
        for outcome in OUTCOMES:
            display.show(outcome)
    display.conclude(OUTCOMES, 3.2)


LINES = [
    "smaller",
    "ok      Linear equals torch's: differs by 0 (limit 2e-05)",
    "FAILED  RMSNorm equals torch's, tiny vectors, too: differs by 3; look in bittygpt/b.py",
    "changed RoPE leaves position 0 as it is: you changed core/d.py",
    "skipped data.dir's tokens fit their vocabulary: there are none",
    "1 of 4 checks failed, 1 changed, 1 skipped, in 3 s: look in bittygpt/b.py",
]


@pytest.mark.parametrize("is_quiet", [False, True])
def test_plain_lines_in_a_pipe(capsys, is_quiet):
    show(is_quiet)
    out, err = capsys.readouterr()
    assert (err if is_quiet else out).splitlines() == LINES
    assert (out if is_quiet else err) == ""


class Terminal(io.TextIOWrapper):
    """A stream that says that it is one."""

    def isatty(self):
        return True


@pytest.mark.parametrize("encoding", ["utf-8", "ascii"])
@pytest.mark.parametrize("width", [40, 80, 200])
def test_a_row_for_each_on_a_terminal(monkeypatch, width, encoding):
    monkeypatch.setenv("COLUMNS", str(width))
    monkeypatch.setenv("TERM", "xterm")
    stream = Terminal(io.BytesIO(), encoding=encoding)
    monkeypatch.setattr(sys, "stdout", stream)
    show()
    stream.flush()
    written = stream.buffer.getvalue().decode(encoding)
    rows = [row.split("\x1b[2K")[-1] for row in written.split("\n")]  # what was not erased again
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]|\r", "", "\n".join(rows))
    assert max(len(line) for line in text.splitlines()) <= width
    marks = {"utf-8": ("✓", "✗", "~", "–"), "ascii": ("o", "F", "c", "s")}[encoding]
    starts = [line[0] for line in text.splitlines() if line[0] in marks and line[1] == " "]
    assert tuple(starts) == marks
    if width >= 80:
        assert "RMSNorm equals torch's, tiny vectors, too" in text
        assert "look in bittygpt/b.py" in text
