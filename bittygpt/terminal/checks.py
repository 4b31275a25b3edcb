"""Shows the outcomes of `train --check`, a line for each check as it is made."""

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from bittygpt.terminal.console import duration, log, result

if TYPE_CHECKING:
    from rich.console import Console
    from rich.status import Status

    from bittygpt.checks.outcome import Outcome

STYLES = {"passed": "green", "changed": "cyan", "failed": "bold red", "skipped": "yellow"}
MARKS = {"passed": "✓", "changed": "~", "failed": "✗", "skipped": "–"}
PROMISE = 43  # columns that the longest promise takes
WORDS = {"passed": "ok     ", "changed": "changed", "failed": "FAILED ", "skipped": "skipped"}  # in a pipe


class ChecksDisplay:
    """Shows outcomes as they come; use it as a context manager, so that the terminal is left as it was found.

    Args:
        is_quiet: stdout is for JSON; all is said on stderr, in plain lines.
    """

    def __init__(self, is_quiet: bool) -> None:
        self._say = log if is_quiet else result
        self._console = _console() if sys.stdout.isatty() and not is_quiet else None
        self._status: Status | None = None
        self._theme = ""

    def __enter__(self) -> "ChecksDisplay":
        if self._console:
            self._status = self._console.status("checking", spinner="dots" if self._has_marks() else "line")
            self._status.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._status:
            self._status.stop()

    def note(self, text: str) -> None:
        """A formula that was changed, or something that is not as the config says."""
        self._line(text, "dim")

    def show(self, outcome: "Outcome") -> None:
        """One outcome, beneath the heading of its theme."""
        place = f"; look in {outcome.look_in}" if outcome.state == "failed" else ""
        if not self._console:
            self._say(f"{WORDS[outcome.state]} {outcome.promise}: {outcome.found}{place}")
            return
        from rich.table import Table
        from rich.text import Text

        if outcome.theme != self._theme:
            self._theme = outcome.theme
            self._console.print(Text(self._theme, style="bold"))
        style, marks = STYLES[outcome.state], MARKS if self._has_marks() else WORDS
        row = Table.grid(padding=(0, 1), expand=True)
        row.add_column(width=1)
        row.add_column(width=min(PROMISE, self._console.width * 11 // 20))
        row.add_column(ratio=1)
        found = Text(outcome.found + place, style="dim" if outcome.state == "passed" else style)
        row.add_row(Text(marks[outcome.state][0], style=style), Text(outcome.promise), found)
        self._console.print(row)

    def _has_marks(self) -> bool:
        return self._console is not None and self._console.encoding.lower().startswith("utf")

    def conclude(self, outcomes: "Sequence[Outcome]", seconds: float) -> None:
        """The last line: how many passed, how many of a changed formula did not, and where to look."""
        names = {state: [o for o in outcomes if o.state == state] for state in STYLES}
        others = ("changed", "skipped")
        besides = "".join(f", {len(names[state])} {state}" for state in others if names[state])
        if failed := names["failed"]:
            # parts come before what they make
            first, *more = dict.fromkeys(outcome.look_in for outcome in failed)
            line = f"{len(failed)} of {len(outcomes)} checks failed{besides}, in {duration(seconds)}: look in {first}"
            line += f", and then in {', '.join(more)}" if more else ""
        else:
            line = f"{len(names['passed'])} checks passed{besides}, in {duration(seconds)}"
        self._line(line, STYLES["failed" if failed else "passed"])

    def _line(self, text: str, style: str) -> None:
        if self._console:
            from rich.text import Text

            self._console.print(Text(text, style=style))
        else:
            self._say(text)


def _console() -> "Console":
    from rich.console import Console

    return Console(highlight=False)
