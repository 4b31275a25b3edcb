"""The outcome of a check. This file imports nothing that an edit could break: it reports what does not import."""

import traceback
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

PACKAGE = Path(__file__).resolve().parent.parent
CHECKS = PACKAGE / "checks"
State = Literal["passed", "changed", "failed", "skipped"]


@dataclass(frozen=True)
class Outcome:
    """What became of a check.

    Attributes:
        theme: what the check is about, in a word.
        name: the check's own name, for scripts.
        promise: what was checked.
        state: "changed" is a promise about a formula that has since been changed, by someone who meant it.
        found: what came out: the number and its limit, the error, or why it was not checked.
        look_in: the file in which to seek the mistake (with the line, where an error was raised).
        value, limit: the number is right if it is at most the limit; None where there is no number.
    """

    theme: str
    name: str
    promise: str
    state: State
    found: str
    look_in: str
    seconds: float
    value: float | None = None
    limit: float | None = None

    def as_dict(self) -> dict[str, Any]:
        """For JSON, in which a number that is none (NaN, infinity) is null."""
        is_number = self.value is not None and abs(self.value) < float("inf")
        return {**asdict(self), "value": self.value if is_number else None, "seconds": round(self.seconds, 3)}


def describe_error(error: Exception, look_in: str) -> tuple[str, str]:
    """An error in one line, and where it was raised: the innermost line of bittygpt that is not a check's own.

    `look_in` where there is no such line.
    """
    lines = [line for line in str(error).splitlines() if line.strip()]
    text = f"{type(error).__name__}: {lines[0].strip()}" if lines else type(error).__name__
    if isinstance(error, SyntaxError) and error.filename:
        return f"SyntaxError: {error.msg}", f"{_shown(Path(error.filename))}:{error.lineno}"
    for frame in traceback.extract_tb(error.__traceback__):
        path = Path(frame.filename)
        if path.is_relative_to(PACKAGE) and not path.is_relative_to(CHECKS):
            look_in = f"{_shown(path)}:{frame.lineno}"
    return text, look_in


def _shown(path: Path) -> str:
    return str(path.relative_to(PACKAGE.parent)) if path.is_relative_to(PACKAGE) else str(path)
