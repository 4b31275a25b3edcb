"""Hashes of what the files of a folder define, without comments, docstrings and layout."""

import ast
import builtins
import hashlib
from collections.abc import Iterator, Mapping
from pathlib import Path


def fingerprints(folder: Path) -> dict[str, str]:
    """Name and hash of each function, method, class and table entry in the files of a folder.

    Raises:
        SyntaxError: a file is no Python.
    """
    found: dict[str, str] = {}
    for path in sorted(folder.glob("*.py")):
        body = ast.parse(path.read_text("utf-8"), str(path)).body
        definitions = list(_definitions(body))
        imported = _imported(body)
        # what stands for something else and is defined here all the same
        shadowed = {name for name, _ in definitions if name in imported or hasattr(builtins, name)}
        imported |= {name: f"{path.name}:{name}" for name in shadowed}
        for name, node in definitions:
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
            names = [name for target in _targets(node) for name in _names(target)]
            if isinstance(node.value, ast.Dict):
                for key, value in zip(node.value.keys, node.value.values, strict=True):
                    for name in names:
                        yield f"{name}[{ast.unparse(key) if key else '**'}]", value
            else:
                yield from ((name, node) for name in names if name != "__all__")
        elif not _names_what_it_imports(node) and not _is_docstring(node):
            yield "statements", node


def _targets(node: ast.Assign | ast.AnnAssign) -> list[ast.expr]:
    return node.targets if isinstance(node, ast.Assign) else [node.target]


def _names(target: ast.expr) -> list[str]:
    """The names of an assignment's target."""
    if isinstance(target, ast.Tuple | ast.List):
        return [name for each in target.elts for name in _names(each)]
    return [ast.unparse(target)]


def _names_what_it_imports(node: ast.stmt) -> bool:
    """Whether it is an import, and not `from x import *`, which may define anything anew."""
    return isinstance(node, ast.Import | ast.ImportFrom) and all(each.name != "*" for each in node.names)


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
