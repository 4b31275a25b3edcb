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
import re
from collections.abc import Iterable, Iterator, Mapping, Set
from pathlib import Path
from types import FunctionType
from typing import Any

import bittygpt.core
from bittygpt.core import choices

CORE = Path(bittygpt.core.__file__).parent
PROVED = Path(__file__).with_name("proved.json")
# what has no part in what a trained model says of a text: how it learns and what it learns from, and where it starts
LEARNING = re.compile(
    r"(optimizer|grad_clip|schedule|choices)\.py:"
    r"|:(Linear|Embedding)\.__init__$|\.(num_parameters|flops_per_token)$"
)
LOSS = re.compile(r"cross_entropy\.py:|:log_softmax$|:TransformerLM\.loss$")


class Proof:
    """The formulas that a fast path stands in for, by name: `rmsnorm.py:RMSNorm.forward`."""

    def __init__(self, *names: str) -> None:
        self.names = frozenset(names)
        if unknown := self.names - proved().keys():
            raise KeyError(f"no formula of core: {', '.join(sorted(unknown))}")
        self.is_as_proved = self.names.isdisjoint(changed())
        files = {name.partition(":")[0] for name in names}
        found = sorted(names) if self.is_as_proved else []  # what was edited may not be there any more
        self._functions = [live for name in found for live in _live(name, files)]

    def holds(self) -> bool:
        """Whether they are the ones of the proof: in core's files, and in the running program."""
        if not self.is_as_proved:
            return False
        for namespace, name, found, function, code in self._functions:
            if namespace.get(name) is not found or (function and function.__code__ is not code):
                return False
        return True


Live = tuple[Mapping[str, Any], str, Any, FunctionType | None, object]


def _live(name: str, files: Set[str]) -> Iterator[Live]:
    """Where these files look a function up, what is there, and the code that came from core; for a class its `forward`.

    Code that came from elsewhere is no proved one: None stands for it.
    """
    home, _, path = name.partition(":")
    *owners, last = path.split(".")
    for file in [home] if owners or "[" in path else files:
        namespace: Mapping[str, Any] = vars(
            importlib.import_module(f"bittygpt.core.{file.removesuffix('.py')}")
        )
        for owner in owners:
            namespace = vars(namespace[owner])
        found = namespace.get(last)
        function = found.fget if isinstance(found, property) else found
        if isinstance(function, FunctionType):
            source = Path(inspect.unwrap(function).__code__.co_filename)
            is_of_core = source.resolve() == (CORE / home).resolve()
            yield namespace, last, found, function, function.__code__ if is_of_core else None
        elif isinstance(found, type) and file == home:  # which may have none of its own
            yield vars(found), "forward", vars(found).get("forward"), None, None


@functools.cache
def proved() -> dict[str, str]:
    """Name and hash of every formula, as proved."""
    files: dict[str, dict[str, str]] = json.loads(PROVED.read_text("utf-8"))
    return {f"{file}:{name}": value for file, names in files.items() for name, value in names.items()}


@functools.cache
def changed() -> dict[str, str]:
    """Name and hash of what differs today, or is new; the hash of what is gone is empty."""
    today = fingerprints(CORE)
    gone = dict.fromkeys(proved().keys() - today.keys(), "")
    return gone | {name: value for name, value in today.items() if proved().get(name) != value}


def unlike(recorded: Mapping[str, str]) -> list[str]:
    """Which formulas differ from those of another day, whose `changed()` was recorded. What is new today does not."""
    then, today = {**proved(), **recorded}, {**proved(), **changed()}
    return sorted(name for name, value in then.items() if today.get(name, "") != value)


def of_texts(names: Iterable[str], scored: bool = False) -> list[str]:
    """Those that have a part in what a trained model says of a text; `scored`: or in how well it foresees one."""
    optimizers = {kind.__module__.rpartition(".")[2] + ".py" for kind in choices.OPTIMIZERS.values()}
    names = (name for name in names if name.partition(":")[0] not in optimizers)
    return [name for name in names if not LEARNING.search(name) and (scored or not LOSS.search(name))]


def of_architecture(activation: str) -> list[str]:
    """What was edited, so that a model is no longer the one that other programs know; or an activation that is new."""
    own = {f"feed_forward.py:{table}['{activation}']" for table in ("GATED", "PLAIN")}
    return of_texts(name for name in changed() if name in own | proved().keys())


def by_file(names: Iterable[str], words: str = "core/{} ({})") -> list[str]:
    """`core/rmsnorm.py (rms_norm, RMSNorm.forward)`, for each file."""
    files: dict[str, list[str]] = {}
    for name in sorted(names):
        file, _, formula = name.partition(":")
        files.setdefault(file, []).append(formula)
    return [words.format(file, ", ".join(formulas)) for file, formulas in files.items()]


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
    by_name: dict[str, dict[str, str]] = {}
    for full_name, value in fingerprints(CORE).items():
        file, _, name = full_name.partition(":")
        by_name.setdefault(file, {})[name] = value
    lines = (f"{json.dumps(file)}: {json.dumps(names)}" for file, names in by_name.items())
    PROVED.write_text("{\n" + ",\n".join(lines) + "\n}\n")
