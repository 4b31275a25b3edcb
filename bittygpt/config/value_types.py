"""What the values of a config may be: numbers within limits, texts, times, lists that may be one text."""

import re
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, WithJsonSchema
from pydantic_core import PydanticCustomError


def tuple_of(value: Any) -> Any:
    """A list, as YAML has it, as a tuple; all else as it is."""
    return tuple(value) if isinstance(value, list) else value


def _sources_of(value: Any) -> Any:
    return (value,) if isinstance(value, str) else tuple_of(value)


def _allow_null(schema: dict[str, Any]) -> None:
    schema["type"] = [schema["type"], "null"]


def _allow_one_string(schema: dict[str, Any]) -> None:
    schema["type"] = ["string", schema["type"]]


def derived(description: str) -> Any:
    """A field that is null in the file when its value follows from other keys (`derived.fill_derived`)."""
    return Field(default=None, description=description, json_schema_extra=_allow_null)


def sources(description: str, **limits: Any) -> Any:
    """A field of sources, of which one may stand alone as a text."""
    return Field(description=description, json_schema_extra=_allow_one_string, **limits)


DURATION_FORMS = "a time such as 45m, 90s or 2h30m, or seconds as a number"
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


def parse_duration(value: Any) -> Any:
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


Count = Annotated[int, Field(ge=1)]
Seed = Annotated[int, Field(ge=0, le=2**63 - 1)]
NonNegative = Annotated[float, Field(ge=0)]
Positive = Annotated[float, Field(gt=0)]
Beta = Annotated[float, Field(ge=0, lt=1)]
Text = Annotated[str, Field(min_length=1)]
Texts = Annotated[tuple[Text, ...], BeforeValidator(tuple_of)]
Duration = Annotated[float, BeforeValidator(parse_duration), Field(gt=0), WithJsonSchema(DURATION_SCHEMA)]
Sources = Annotated[tuple[Text, ...], BeforeValidator(_sources_of)]
