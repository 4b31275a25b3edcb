"""What a fault of one key says: what is wrong with the value, and the remedy."""

import difflib
import json
from collections.abc import Sequence
from typing import Any

from pydantic_core import ErrorDetails

from bittygpt.config.run_config import SECTIONS
from bittygpt.config.value_types import DURATION_FORMS
from bittygpt.config.yaml_format import YamlSyntaxError, parse_value

_LONGEST_VALUE = 60
_EXPECTED = {
    "int_type": "a whole number",
    "float_type": "a number",
    "string_type": "text",
    "string_unicode": "UTF-8 text",
    "bool_type": "true or false",
    "tuple_type": "a list",
    "literal_error": "{expected}",
    "finite_number": "a finite number",
    "greater_than_equal": "at least {ge}",
    "greater_than": "above {gt}",
    "less_than_equal": "at most {le}",
    "less_than": "below {lt}",
    "string_too_short": "text of at least one character",
    "too_short": "a list of at least {min_length} item",
    "too_long": "a list of {max_length} items",
    "duration": DURATION_FORMS,
    "too_long_a_time": "at most {days} days",
}


def format_value(value: Any) -> str:
    """`value` as a config file would have it, on one line."""
    text = json.dumps(value, ensure_ascii=False, default=str, skipkeys=True)
    return text if len(text) <= _LONGEST_VALUE else f"{text[:_LONGEST_VALUE]}..."


def unknown_key(key: str) -> str:
    """The message for a dotted key, or a section, that does not exist."""
    keys = [f"{section}.{name}" for section, model in SECTIONS.items() for name in model.model_fields]
    if key in keys:
        section, name = key.split(".")
        return f"dotted keys are for the command line; in a file write {section}: {{{name}: ...}}"
    if nearest := _nearest_keys(key, keys):
        return f"unknown key; did you mean {' or '.join(nearest)}?"
    section = key.partition(".")[0]
    if section in SECTIONS:
        return f"unknown key; {section} has the keys {', '.join(SECTIONS[section].model_fields)}"
    return f"unknown section; the sections are {', '.join(SECTIONS)}"


def _nearest_keys(key: str, keys: Sequence[str]) -> list[str]:
    """The key of the same or a similar name, best in the same section, else in others; or a similar section."""
    section, _, name = key.rpartition(".")
    names = [known.split(".")[1] for known in keys]
    if not section and name not in names and (near := difflib.get_close_matches(name, SECTIONS, n=1)):
        return near
    near = difflib.get_close_matches(name, names, n=1)
    found = [known for known in keys if near and known.split(".")[1] == near[0]]
    in_section = [known for known in found if known.split(".")[0] == section]
    if in_section or found or section in SECTIONS:
        return in_section or found
    near = difflib.get_close_matches(key, keys, n=1, cutoff=0.75)
    return near or difflib.get_close_matches(section or name, SECTIONS, n=1)


def bad_value(key: str, value: Any, errors: Sequence[ErrorDetails]) -> str:
    """The message for a value of the wrong type or out of range. `errors`: what pydantic says about this key."""
    section, name = key.split(".")
    field = SECTIONS[section].model_fields[name]
    if errors[0]["type"] == "missing" and len(errors[0]["loc"]) == 2:
        return "missing; name the text to train on, such as data: {train: [my.txt]}"
    subject = ""
    in_items = [error for error in errors if len(error["loc"]) > 2 and isinstance(error["loc"][2], int)]
    if in_items:
        item = in_items[0]["loc"][2]
        errors = [error for error in in_items if error["loc"][2] == item]
        if errors[0]["type"] != "missing":
            subject, value = f"item {int(item) + 1} ", value[item]
    expected = " or ".join(dict.fromkeys(_expected(error) for error in errors))
    if errors[0]["type"] == "missing":
        expected = f"a list of {int(in_items[-1]['loc'][2]) + 1} items"
    default = (
        "remove the key for its default"
        if field.default is None
        else f"the default is {format_value(field.default)}"
    )
    remedy = "write a list of texts, such as [my.txt]" if field.is_required() else default
    return f"{subject}must be {expected}, not {format_value(value)}; {_remedy(value, errors, remedy)}"


def _expected(error: ErrorDetails) -> str:
    phrase = _EXPECTED.get(error["type"])
    if phrase is None:
        return f"valid ({error['msg']})"
    limits = {key: f"{v:.16g}" if isinstance(v, float) else str(v) for key, v in error.get("ctx", {}).items()}
    return phrase.format(**limits).replace("'", "")


def _remedy(value: Any, errors: Sequence[ErrorDetails], otherwise: str) -> str:
    kinds = {error["type"] for error in errors}
    if isinstance(value, str) and kinds & {"int_type", "float_type", "bool_type"}:
        try:
            meant = parse_value(value.replace("_", ""))
        except YamlSyntaxError:
            meant = None
        if isinstance(meant, int | float):
            return f"write {format_value(meant)}, without {'underscores' if '_' in value else 'quotes'}"
    if isinstance(value, str) and "literal_error" in kinds:
        choices = _expected(errors[0]).replace(" or ", ", ").split(", ")
        if near := difflib.get_close_matches(value.lower(), choices, n=1):
            return f"did you mean {near[0]}?"
    if isinstance(value, float) and "int_type" in kinds and value.is_integer():
        return f"write {int(value)}"
    if "string_type" in kinds and isinstance(value, int | float):
        return f"put it in quotes: '{format_value(value)}'"
    return otherwise
