"""Which formulas of `core` are still those that the fast paths were proved against.

A fast path computes what its formulas said when the tests compared the two. So the source of every function, method
and table entry of core is kept with that proof as a hash (`proved.json`, which `make proofs` writes).
Comments, docstrings and line breaks are no part of it. What differs today was edited: the formula computes, and
whoever trains says so. Functions that are replaced while the program runs are noticed, too.
"""

import functools
import importlib
import inspect
import json
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Set
from pathlib import Path
from types import CodeType, FunctionType
from typing import Any

import bittygpt.core
from bittygpt.core import choices
from bittygpt.engine.fingerprints import fingerprints

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
        self.edited = [name for name in changed() if touches(name, self.names)]
        self.is_as_proved = not self.edited
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
    """Where files look a function up, what is there, what its decorators hold, and its code; of a class `forward`.

    Code that is not that of core's file is no proved one: None stands for it.
    """
    home, _, path = name.partition(":")
    *owners, last = path.split(".")
    for file in [home] if owners or "[" in path else files:
        namespace: Mapping[str, Any] = vars(
            importlib.import_module(f"bittygpt.core.{file.removesuffix('.py')}")
        )
        for owner in owners:
            namespace = vars(namespace.get(owner, object))
        found = namespace.get(last)
        function = inspect.unwrap(found.fget if isinstance(found, property) else found)  # type: ignore[arg-type]
        if isinstance(function, FunctionType):
            code = function.__code__
            yield namespace, last, found, function, code if _name_of(code) == name else None
        elif isinstance(found, type) and file == home:  # which may have none of its own
            yield vars(found), "forward", vars(found).get("forward"), None, None
        elif callable(found) and not isinstance(found, type):  # in a function's place: none that was proved
            yield namespace, last, None, None, None


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
    found = changed().keys() & executed
    for name in proved().keys() | changed().keys():
        file = name.partition(":")[0]
        functions = [(function, code) for *_, function, code in _live(name, {file}) if function is not None]
        found |= {name for function, code in functions if code is None and function.__code__ in codes}
        if not functions and name in changed().keys() & proved().keys() and file in files:
            found.add(name)
    return sorted(found)


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


def touches(name: str, formulas: Set[str]) -> bool:
    """Whether a change of `name` may change the results of formulas: it is one of them, or stands beside them.

    A method that a class did not have may be called instead of another's; a statement between definitions may replace
    anything, and so may whatever `__init__.py` defines.
    """
    file, _, what = name.partition(":")
    is_new_method = name not in proved() and name.rpartition(".")[0] in formulas
    is_statement = what == "statements" and any(formula.startswith(f"{file}:") for formula in formulas)
    return name in formulas or is_new_method or is_statement or file == "__init__.py"


def unlike(recorded: Mapping[str, str]) -> list[str]:
    """The formulas that differ from those recorded earlier, whose `changed()` was kept. New ones do not count."""
    then, today = {**proved(), **recorded}, {**proved(), **changed()}
    return sorted(name for name, value in then.items() if today.get(name, "") != value)


def of_texts(names: Iterable[str], scored: bool = False) -> list[str]:
    """Those that affect what a trained model generates; `scored`: or the loss that it assigns to a text."""
    optimizers = {kind.__module__.rpartition(".")[2] + ".py" for kind in choices.OPTIMIZERS.values()}
    names = (name for name in names if name.partition(":")[0] not in optimizers)
    return [name for name in names if not LEARNING.search(name) and (scored or not LOSS.search(name))]


def of_architecture(activation: str) -> list[str]:
    """The edits by which a model leaves the architecture that other programs know; a new activation is one."""
    own = {f"feed_forward.py:{table}['{activation}']" for table in ("GATED", "PLAIN")}
    return of_texts(name for name in changed() if touches(name, own | proved().keys()))


def by_file(names: Iterable[str], words: str = "core/{} ({})") -> list[str]:
    """`core/rmsnorm.py (RMSNorm.forward, rms_norm)`, for each file."""
    files: dict[str, list[str]] = {}
    for name in sorted(names):
        file, _, formula = name.partition(":")
        files.setdefault(file, []).append(formula)
    return [words.format(file, ", ".join(formulas)) for file, formulas in files.items()]


if __name__ == "__main__":
    by_name: dict[str, dict[str, str]] = {}
    for full_name, value in fingerprints(CORE).items():
        file, _, name = full_name.partition(":")
        by_name.setdefault(file, {})[name] = value
    lines = (f"{json.dumps(file)}: {json.dumps(names)}" for file, names in by_name.items())
    PROVED.write_text("{\n" + ",\n".join(lines) + "\n}\n")
