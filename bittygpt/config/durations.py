"""Lengths of time as a config has them: 90s, 45m, 2h30m, or seconds as a number."""

import re
from typing import Any

from pydantic_core import PydanticCustomError

FORMS = "a time such as 45m, 90s or 2h30m, or seconds as a number"
_SECONDS = {"d": 86400, "h": 3600, "m": 60, "s": 1}
_NUMBER = r"([0-9]+(?:\.[0-9]*)?|\.[0-9]+)"
_PATTERN = "".join(rf"(?:{_NUMBER}\s*{unit}\s*)?" for unit in _SECONDS)  # each unit once, the greatest first
LONGEST = 366 * 86400
DURATION_SCHEMA: dict[str, Any] = {
    "anyOf": [
        {"type": "number", "exclusiveMinimum": 0, "maximum": LONGEST},
        {"type": "string", "pattern": r"^\s*([0-9.]+\s*[dhmsDHMS]\s*)+$"},
    ]
}


def seconds_of(value: Any) -> Any:
    """The seconds that `value` means; null and numbers as they are.

    Raises:
        PydanticCustomError: neither a number nor such a text, or longer than `LONGEST`.
    """
    seconds = _parsed(value)
    if seconds is not None and seconds > LONGEST:  # not left to the field: it would give the limit in seconds
        raise PydanticCustomError("too_long_a_time", "is too long", {"days": LONGEST // _SECONDS["d"]})
    return seconds


def _parsed(value: Any) -> Any:
    if isinstance(value, str) and (match := re.fullmatch(_PATTERN, value.strip(), re.IGNORECASE | re.ASCII)):
        parts = zip(match.groups(), _SECONDS.values(), strict=True)
        if any(match.groups()):
            return sum(float(number) * seconds for number, seconds in parts if number)
    if value is None or (isinstance(value, int | float) and not isinstance(value, bool)):
        return value
    raise PydanticCustomError("duration", "is no length of time")
