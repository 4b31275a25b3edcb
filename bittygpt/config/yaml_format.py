"""The YAML that configs are written in: YAML 1.2's core schema, https://yaml.org/spec/1.2.2/#103-core-schema.

PyYAML speaks YAML 1.1, in which 3e-4 is a text, `on` is true, 010 is 8 and 12:30 is 750. Here 3e-4 is a number,
and only true and false are truth values. What is written is read alike by both.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import yaml

_ODD_LINE_ENDS = frozenset("\x85\u2028\u2029")
LARGEST_INT = 2**63 - 1
_SCALARS = {
    "tag:yaml.org,2002:null": (r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    "tag:yaml.org,2002:bool": (r"true|True|TRUE|false|False|FALSE", list("tTfF")),
    "tag:yaml.org,2002:int": (r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+", list("-+0123456789")),
    "tag:yaml.org,2002:float": (
        r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)",
        list("-+.0123456789"),
    ),
}
_HINTS = {
    "mapping values are not allowed": "put quotes around a text that holds ': '",
    "cannot start any token": "indent with spaces, and put quotes around a text that begins with a sign",
    "another document": "one file is one config; remove the line ---",
    "recursive": "remove the alias",
    "constructor for the tag": "remove the tag",
    "64 bits": "take a smaller one",
}


class YamlSyntaxError(Exception):
    """What cannot be parsed, and where. Line and column count from 1."""

    def __init__(self, message: str, line: int, column: int) -> None:
        super().__init__(message)
        self.message, self.line, self.column = message, line, column


class CoreLoader(yaml.SafeLoader):
    """SafeLoader with the plain scalars of YAML 1.2."""

    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}  # noqa: RUF012 (as PyYAML has it)

    def construct_core_int(self, node: yaml.ScalarNode) -> int:
        """A whole number of 64 bits, in base 10 unless it begins with 0o or 0x."""
        text = str(self.construct_scalar(node))
        base = {"0o": 8, "0x": 16}.get(text[:2], 10)
        if len(text) > 64 or abs(value := int(text, base)) > LARGEST_INT:
            raise yaml.constructor.ConstructorError(
                problem="a whole number of more than 64 bits", problem_mark=node.start_mark
            )
        return value


class CoreDumper(yaml.SafeDumper):
    """SafeDumper that also quotes the texts that only YAML 1.2 would take for numbers."""

    def represent_text(self, text: str) -> yaml.ScalarNode:
        """Escape the line ends of Unicode, which PyYAML writes as they are and reads back as others."""
        return self.represent_scalar(
            "tag:yaml.org,2002:str", text, style='"' if _ODD_LINE_ENDS & set(text) else None
        )


for _tag, (_pattern, _first_letters) in _SCALARS.items():
    for _yaml_class in (CoreLoader, CoreDumper):
        _yaml_class.add_implicit_resolver(_tag, re.compile(f"(?:{_pattern})$"), _first_letters)
CoreDumper.add_representer(str, CoreDumper.represent_text)
CoreLoader.add_constructor("tag:yaml.org,2002:int", CoreLoader.construct_core_int)


@contextmanager
def core_loader(text: str) -> Iterator[CoreLoader]:
    """A loader over `text`; all that goes wrong inside is a YamlSyntaxError."""
    loader = None
    try:
        loader = CoreLoader(text)
        yield loader
    except yaml.reader.ReaderError as error:
        before = text[: error.position]
        what = f"the character U+{ord(text[error.position]):04X} is not allowed; remove it"
        raise YamlSyntaxError(what, before.count("\n") + 1, len(before) - before.rfind("\n")) from None
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line, column = (mark.line + 1, mark.column + 1) if mark else (1, 1)
        raise YamlSyntaxError(_with_hint(error.problem or "cannot be parsed"), line, column) from None
    except ValueError as error:  # an explicit tag over what it is not: !!float abc
        raise YamlSyntaxError(str(error), 1, 1) from None
    except RecursionError:
        raise YamlSyntaxError("brackets nested too deeply; a config needs two levels", 1, 1) from None
    finally:
        if loader is not None:
            loader.dispose()


def _with_hint(problem: str) -> str:
    hints = [hint for part, hint in _HINTS.items() if part in problem]
    return f"{problem}; {hints[0] if hints else 'check quotes, brackets and indentation there'}"


def parse_value(text: str) -> Any:
    """The one value that `text` is. Raises YamlSyntaxError."""
    with core_loader(text) as loader:
        node = loader.get_single_node()
        return None if node is None else loader.construct_object(node, deep=True)


def dump(values: dict[str, Any]) -> str:
    """`values` as a YAML text, keys in their order."""
    return yaml.dump(values, Dumper=CoreDumper, sort_keys=False, allow_unicode=True)
