"""Which formulas of `core` are still those that the fast paths were proved against.

A fast path computes what its formulas said when the tests compared the two. So the source of every function, method
and table entry of core is kept with that proof as a hash (`proved.json`; `make proofs` writes it, after the tests).
Comments, docstrings and line breaks are no part of it. What differs today was edited: the formula computes, and
whoever trains says so. Functions that are replaced while the program runs are noticed, too.
"""

import ast
import functools
import hashlib
import importlib
import inspect
import json
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from types import CodeType, FunctionType
from typing import Any

import bittygpt.core

CORE = Path(bittygpt.core.__file__).parent
PROVED = Path(__file__).with_name("proved.json")


class Proof:
    """The formulas that a fast path stands in for, by name: `rmsnorm.py:RMSNorm.forward`."""

    def __init__(self, *names: str) -> None:
        self.names = frozenset(names)
        if unknown := self.names - proved().keys():
            raise KeyError(f"no formula of core: {', '.join(sorted(unknown))}")
        self.is_as_proved = self.names.isdisjoint(changed())
        self._functions = [live for name in sorted(names) if (live := _live(name)) is not None]

    def holds(self) -> bool:
        """Whether they are the ones of the proof: in core's files, and in the running program."""
        if not self.is_as_proved:
            return False
        for namespace, name, found, function, code in self._functions:
            if namespace.get(name) is not found or function.__code__ is not code:
                return False
        return True


Live = tuple[Mapping[str, Any], str, Any, FunctionType, object]


def _live(name: str) -> Live | None:
    """Where the program looks a function up, what is there, the function itself below its decorators, and its code.

    None: there is no such function. Code that is not that of core's file is no proved one: None stands for it.
    """
    file, _, path = name.partition(":")
    if "[" in path:
        return None
    namespace: Mapping[str, Any] = vars(importlib.import_module(f"bittygpt.core.{file.removesuffix('.py')}"))
    *owners, last = path.split(".")
    for owner in owners:
        namespace = vars(namespace.get(owner, object))
    found = namespace.get(last)
    function = inspect.unwrap(found.fget if isinstance(found, property) else found)  # type: ignore[arg-type]
    if not isinstance(function, FunctionType):
        return None
    code = function.__code__
    return namespace, last, found, function, code if _name_of(code) == name else None


def _name_of(code: CodeType) -> str:
    """The formula that a piece of code is in; empty where it is in none of core's files."""
    path = Path(code.co_filename).resolve()
    return f"{path.name}:{code.co_qualname.split('.<locals>')[0]}" if path.parent == CORE.resolve() else ""


def changed_while_running(run: Callable[[], object]) -> list[str]:
    """The changed formulas that were executed while `run` ran, also those that were replaced in the running program.

    What is no function (a constant, a class's own settings) counts where anything else of its file was executed; a
    new entry of a table does not, as it is of no use without a function.
    """
    codes: set[CodeType] = set()
    before = sys.getprofile()
    sys.setprofile(lambda frame, *_: codes.add(frame.f_code))
    try:
        run()
    finally:
        sys.setprofile(before)
    executed = {_name_of(code) for code in codes}
    files = {name.partition(":")[0] for name in executed}
    known = proved().keys() | changed().keys()
    functions = {name: live for name in known if (live := _live(name)) is not None}
    found = {
        name for name, (*_, function, code) in functions.items() if not code and function.__code__ in codes
    }
    found |= changed().keys() & executed
    found |= {
        name
        for name in changed().keys() & proved().keys() - functions.keys()
        if name.partition(":")[0] in files
    }
    return sorted(found)


@functools.cache
def proved() -> dict[str, str]:
    """Name and hash of every formula, as proved."""
    return dict(json.loads(PROVED.read_text("utf-8")))


@functools.cache
def changed() -> dict[str, str]:
    """Name and hash of what differs today, or is new; the hash of what is gone is empty."""
    today = fingerprints(CORE)
    gone = dict.fromkeys(proved().keys() - today.keys(), "")
    return gone | {name: value for name, value in today.items() if proved().get(name) != value}


def by_file(names: Iterable[str]) -> dict[str, str]:
    """The files of some formulas, and which of each: `{"activations.py": "gelu, silu"}`."""
    files: dict[str, list[str]] = {}
    for name in sorted(names):
        file, _, formula = name.partition(":")
        files.setdefault(file, []).append(formula)
    return {file: ", ".join(formulas) for file, formulas in files.items()}


def fingerprints(folder: Path) -> dict[str, str]:
    """Name and hash of each function, method, class and table entry in the files of a folder.

    Raises:
        SyntaxError: a file is no Python.
    """
    found: dict[str, str] = {}
    for path in sorted(set(folder.glob("*.py")) - {folder / "__init__.py"}):
        body = ast.parse(path.read_text("utf-8"), str(path)).body
        imported = _imported(body)
        for name, node in _definitions(body):
            key = f"{path.name}:{name}"
            text = found.get(key, "") + repr(_tree(node, imported))
            found[key] = hashlib.sha256(text.encode()).hexdigest()[:16]
    return found


def _definitions(body: list[ast.stmt], prefix: str = "") -> Iterator[tuple[str, ast.AST]]:
    """What a module or class defines, by name; a class stands for what of it is no method."""
    for node in body:
        if isinstance(node, ast.ClassDef):
            methods = [each for each in node.body if isinstance(each, ast.FunctionDef)]
            yield from _definitions(list(methods), f"{node.name}.")
            node.body = [each for each in node.body if each not in methods]
            yield node.name, node
        elif isinstance(node, ast.FunctionDef):
            yield prefix + node.name, node
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            name = ast.unparse(node.targets[0] if isinstance(node, ast.Assign) else node.target)
            if isinstance(node.value, ast.Dict):
                for key, value in zip(node.value.keys, node.value.values, strict=True):
                    yield f"{name}[{ast.unparse(key) if key else '**'}]", value
            else:
                yield name, node
        elif not isinstance(node, ast.Import | ast.ImportFrom) and not _is_docstring(node):
            yield "statements", node


def _imported(body: list[ast.stmt]) -> dict[str, str]:
    """What each name stands for that a module takes from elsewhere."""
    names: dict[str, str] = {}
    for node in body:
        if isinstance(node, ast.Import | ast.ImportFrom):
            origin = f"{node.module}." if isinstance(node, ast.ImportFrom) else ""
            names |= {alias.asname or alias.name: origin + alias.name for alias in node.names}
    return names


def _tree(node: object, imported: Mapping[str, str]) -> object:
    """A syntax tree without docstrings, layout, and fields that are empty, which differ between Python versions."""
    if isinstance(node, list):
        return [_tree(each, imported) for each in node if not _is_docstring(each)]
    if isinstance(node, ast.Name):
        return imported.get(node.id, node.id)
    if not isinstance(node, ast.AST):
        return node
    fields = {name: _tree(x, imported) for name, x in ast.iter_fields(node) if x not in (None, [])}
    return type(node).__name__, fields


def _is_docstring(node: object) -> bool:
    return (
        isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
    )


if __name__ == "__main__":
    PROVED.write_text(json.dumps(fingerprints(CORE), indent=0) + "\n")
