"""YAML 1.2's core schema: what each plain scalar means, and that what is written is read alike by all."""

import math
from typing import Any

import pytest
import yaml
from hypothesis import example, given
from hypothesis import strategies as st

from bittygpt.config.yaml_format import YamlSyntaxError, dump, parse_value


# The examples of https://yaml.org/spec/1.2.2/#103-core-schema, and what YAML 1.1 takes for something else.
@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("", None),
        ("~", None),
        ("null", None),
        ("true", True),
        ("False", False),
        ("0", 0),
        ("-19", -19),
        ("+7", 7),
        ("010", 10),
        ("0o7", 7),
        ("0x3A", 58),
        ("0.", 0.0),
        ("-0.0", -0.0),
        (".5", 0.5),
        ("+12e03", 12000.0),
        ("-2E+05", -200000.0),
        ("3e-4", 0.0003),
        (".inf", math.inf),
        ("-.Inf", -math.inf),
        ("yes", "yes"),
        ("on", "on"),
        ("12:30", "12:30"),
        ("1_000", "1_000"),
        ("2024-01-31", "2024-01-31"),
        ("'3'", "3"),
        ("0o8", "0o8"),
        ("-0x3A", "-0x3A"),
        ("e5", "e5"),
        (".", "."),
        ("[1, 2e0, a]", [1, 2.0, "a"]),
    ],
)
def test_plain_scalars_mean_what_yaml_12_says(text: str, value: Any) -> None:
    read = parse_value(text)
    assert (type(read), read) == (type(value), value)


@given(
    st.one_of(
        st.text(),
        st.text("0123456789+-._:eExo", min_size=1),
        st.integers(-(2**63) + 1, 2**63 - 1),
        st.floats(allow_nan=False),
        st.booleans(),
        st.none(),
    )
)
@example("\x85")
@example("0o7")
@example("1e5")
def test_what_is_written_is_read_alike_here_and_by_yaml_11(value: Any) -> None:
    text = dump({"key": value}).encode().decode()
    for read in (parse_value(text)["key"], yaml.safe_load(text)["key"]):
        assert (type(read), read) == (type(value), value)


@pytest.mark.parametrize(
    ("text", "line", "column", "part"),
    [
        (
            "a: 1\nb: c: d",
            2,
            5,
            "mapping values are not allowed here; put quotes around a text that holds ': '",
        ),
        ("a: 1\n\tb: 2", 2, 1, "cannot start any token; indent with spaces"),
        ("a: 1\nb: \x01", 2, 4, "the character U+0001 is not allowed; remove it"),
        ("a: 1\n---\nb: 1", 2, 1, "one file is one config; remove the line ---"),
        ("a: &x [*x]", 1, 4, "remove the alias"),
        ("a: !!python/name:os.system", 1, 4, "remove the tag"),
        ("a: 9223372036854775808", 1, 4, "a whole number of more than 64 bits; take a smaller one"),
        ("a: " + "9" * 5000, 1, 4, "a whole number of more than 64 bits"),
        ("[" * 5000, 1, 1, "nested too deeply"),
        ("a: !!float abc", 1, 1, "could not convert"),
    ],
)
def test_what_cannot_be_parsed_is_placed(text: str, line: int, column: int, part: str) -> None:
    with pytest.raises(YamlSyntaxError) as caught:
        parse_value(text)
    assert part in caught.value.message
    assert (caught.value.line, caught.value.column) == (line, column)
