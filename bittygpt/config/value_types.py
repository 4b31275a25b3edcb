"""What the values of a config may be: numbers within limits, texts, times, lists that may be one text."""

from typing import Annotated, Any

from pydantic import BeforeValidator, Field, WithJsonSchema

from bittygpt.config.durations import DURATION_SCHEMA, seconds_of


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


Count = Annotated[int, Field(ge=1)]
Seed = Annotated[int, Field(ge=0, le=2**63 - 1)]
NonNegative = Annotated[float, Field(ge=0)]
Positive = Annotated[float, Field(gt=0)]
Beta = Annotated[float, Field(ge=0, lt=1)]
Text = Annotated[str, Field(min_length=1)]
Texts = Annotated[tuple[Text, ...], BeforeValidator(tuple_of)]
Duration = Annotated[float, BeforeValidator(seconds_of), Field(gt=0), WithJsonSchema(DURATION_SCHEMA)]
Sources = Annotated[tuple[Text, ...], BeforeValidator(_sources_of)]
