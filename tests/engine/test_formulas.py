"""Hashes of formulas: what they pass over, what they notice, and that the proofs are those of today's core."""

import ast
import functools
import shutil

import pytest
import torch

from bittygpt.core import AdamW
from bittygpt.engine import fingerprints as fingerprints_module
from bittygpt.engine import formulas
from bittygpt.engine.accelerate import notes_on_changes
from bittygpt.engine.formulas import CORE, Proof, changed, fingerprints, proved
from bittygpt.engine.optimizers import fused

SOURCE = '''"""A file."""

import math
from collections.abc import Iterable

import torch
from torch import Tensor, nn

RATE = 0.5
TABLE: dict[str, float] = {"one": 1.0, "two": 2.0}


@torch.no_grad()
def grow(x: Tensor, rate: float = RATE, steps: int = 3) -> Tensor:
    """How it grows."""
    for _ in range(steps):
        x = x * (1 + rate) - math.sqrt(2.0)
    return x


class Layer(nn.Module):
    """A layer."""

    size = 4

    def forward(self, x: Tensor) -> Tensor:
        """Forward."""
        return grow(x, steps=self.size)
'''


@pytest.fixture
def hashes(tmp_path):
    def of(source):
        (tmp_path / "grow.py").write_text(source)
        return fingerprints(tmp_path)

    return of


def edited(old, new):
    assert old in SOURCE
    return SOURCE.replace(old, new)


def test_what_has_a_hash(hashes):
    names = {"RATE", "TABLE['one']", "TABLE['two']", "grow", "Layer", "Layer.forward"}
    assert set(hashes(SOURCE)) == {f"grow.py:{name}" for name in names}


LAYOUT = {
    "comments": ("    return x\n\n\nclass", "    # the end\n    return x  # really\n\n\nclass"),
    "docstrings": ('"""How it grows."""', '"""Another word."""'),
    "no docstring": ('        """Forward."""\n', ""),
    "docstring of the file": ('"""A file."""', '"""Another file."""'),
    "parentheses": ("x * (1 + rate) - math.sqrt(2.0)", "(x * ((1 + rate))) - (math.sqrt((2.0)))"),
    "line breaks": (
        "x: Tensor, rate: float = RATE, steps",
        "\n    x: Tensor,\n    rate: float = RATE,\n    steps",
    ),
    "quotes": ('"one"', "'one'"),
    "an import that nothing uses": ("import math\n", "import math\nimport os\n"),
    "a name for an import": ("import math\n", "import math\nimport torch as unused\n"),
}


@pytest.mark.parametrize("what", LAYOUT)
def test_layout_is_passed_over(what, hashes):
    assert hashes(edited(*LAYOUT[what])) == hashes(SOURCE)


EDITS = {
    "an operator": ("x * (1", "x / (1", {"grow"}),
    "a sign": ("1 + rate", "1 - rate", {"grow"}),
    "parentheses that matter": ("x * (1 + rate)", "x * 1 + rate", {"grow"}),
    "a constant": ("sqrt(2.0)", "sqrt(2.5)", {"grow"}),
    "the kind of a constant": ("sqrt(2.0)", "sqrt(2)", {"grow"}),
    "an import": (
        "from torch import Tensor, nn",
        "from other import Tensor, nn",
        {"grow", "Layer", "Layer.forward"},
    ),
    "what an import stands for": ("import math\n", "import cmath as math\n", {"grow"}),
    "a decorator": ("@torch.no_grad()\n", "", {"grow"}),
    "a default value": ("steps: int = 3", "steps: int = 4", {"grow"}),
    "a table's entry": ('"two": 2.0', '"two": 3.0', {"TABLE['two']"}),
    "a table's key": ('"two": 2.0', '"three": 2.0', {"TABLE['two']", "TABLE['three']"}),
    "a constant of the file": ("RATE = 0.5", "RATE = 0.6", {"RATE"}),
    "a class's own line": ("size = 4", "size = 5", {"Layer"}),
    "a class's base": ("Layer(nn.Module)", "Layer(nn.Linear)", {"Layer"}),
    "a keyword": ("steps=self.size", "rate=self.size", {"Layer.forward"}),
    "another function": ("\n\nclass Layer", "\n\ndef other():\n    pass\n\n\nclass Layer", {"other"}),
    "another method": (
        "    size = 4\n",
        "    size = 4\n\n    def extra(self):\n        return 1\n",
        {"Layer.extra"},
    ),
    "a statement of the file": ("RATE = 0.5\n", "RATE = 0.5\nprint(RATE)\n", {"statements"}),
    "a function that is gone": (SOURCE[SOURCE.index("@torch") : SOURCE.index("class")], "", {"grow"}),
    "a branch": ("        x = x *", "        if x is None:\n            break\n        x = x *", {"grow"}),
}


@pytest.mark.parametrize("what", EDITS)
def test_an_edit_is_noticed_where_it_is(what, hashes):
    old, new, names = EDITS[what]
    before, after = hashes(SOURCE), hashes(edited(old, new))
    differ = {name for name in before.keys() | after.keys() if before.get(name) != after.get(name)}
    assert differ == {f"grow.py:{name}" for name in names}


def test_a_method_that_stands_twice_is_both(hashes):
    twice = SOURCE + "\n    def forward(self, x):\n        return x\n"
    assert hashes(twice)["grow.py:Layer.forward"] != hashes(SOURCE)["grow.py:Layer.forward"]


def test_empty_fields_are_no_part_of_a_hash(monkeypatch, hashes):
    """Python 3.12 gave functions `type_params`, and 3.13 leaves empty fields out."""
    before = hashes(SOURCE)
    fields = ast.iter_fields

    def of_another_version(node):
        yield from fields(node)
        yield "type_params", []
        yield "something_new", None

    monkeypatch.setattr(fingerprints_module.ast, "iter_fields", of_another_version)
    assert hashes(SOURCE) == before
    monkeypatch.setattr(
        fingerprints_module.ast,
        "iter_fields",
        lambda node: (x for x in fields(node) if x[1] not in (None, [])),
    )
    assert hashes(SOURCE) == before


def test_the_proofs_are_those_of_todays_core():
    assert fingerprints(CORE) == proved(), (
        "core was edited: when its fast paths are right by the tests, `make proofs`"
    )
    assert changed() == {}
    assert notes_on_changes() == []


def test_a_proof_of_what_is_not_there_is_an_error():
    with pytest.raises(KeyError, match=r"no formula of core: rmsnorm\.py:RMSNorm\.backward"):
        Proof("rmsnorm.py:RMSNorm.forward", "rmsnorm.py:RMSNorm.backward")


@pytest.fixture
def a_copy_of_core(tmp_path, monkeypatch):
    """Files that may be edited, in the place of core's."""
    folder = tmp_path / "core"
    shutil.copytree(CORE, folder, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(formulas, "CORE", folder)
    changed.cache_clear()
    yield folder
    changed.cache_clear()


def test_what_was_edited_is_named(a_copy_of_core):
    path = a_copy_of_core / "rmsnorm.py"
    path.write_text(path.read_text().replace("x32.square()", "x32.abs()"))
    (a_copy_of_core / "new.py").write_text("def invented():\n    return 1\n")
    (a_copy_of_core / "sgd.py").unlink()
    names = set(changed())
    assert names == {
        "rmsnorm.py:rms_norm",
        "new.py:invented",
        "sgd.py:SGD",
        "sgd.py:SGD.__init__",
        "sgd.py:SGD.update",
    }
    assert changed()["sgd.py:SGD"] == ""
    assert notes_on_changes()[1].startswith(
        "core/rmsnorm.py was changed: rms_norm; it computes as edited, and"
    )
    assert not Proof("rmsnorm.py:rms_norm").holds()
    assert not Proof("rmsnorm.py:RMSNorm.forward", "rmsnorm.py:rms_norm").holds()
    assert not Proof("sgd.py:SGD").holds()


def test_what_was_replaced_before_the_engine_looked_is_noticed(monkeypatch):
    from bittygpt.core import attention, rmsnorm

    assert Proof("rmsnorm.py:rms_norm").holds()
    assert Proof("attention.py:MultiHeadAttention.attend", "activations.py:softmax").holds()
    monkeypatch.setattr(rmsnorm, "rms_norm", lambda x, *_: x)
    monkeypatch.setattr(attention, "softmax", lambda x: x)
    assert not Proof("rmsnorm.py:rms_norm").holds()
    assert not Proof("attention.py:MultiHeadAttention.attend", "activations.py:softmax").holds()
    assert Proof("activations.py:softmax").holds()


@pytest.mark.parametrize(
    ("file", "addition"),
    [
        ("rmsnorm", "if True:\n    def rms_norm(x, gain_D, eps):\n        return x"),
        ("rmsnorm", "from elsewhere import *"),
        ("rmsnorm", "upcast = torch.Tensor.double"),
        ("rmsnorm", "other, upcast = upcast, torch.Tensor.double"),
        ("rmsnorm", "torch = None"),
        ("rmsnorm", "    def __call__(self, x):\n        return x"),
        ("__init__", "rmsnorm.rms_norm = None"),
    ],
)
def test_what_is_written_beside_a_formula_and_changes_it_is_noticed(file, addition, a_copy_of_core):
    path = a_copy_of_core / f"{file}.py"
    path.write_text(f"{path.read_text()}\n{addition}\n")
    names = "rmsnorm.py:RMSNorm", "rmsnorm.py:RMSNorm.forward", "rmsnorm.py:rms_norm"
    assert not Proof(*names).is_as_proved
    assert formulas.of_architecture("swiglu")
    assert notes_on_changes()


def test_an_object_in_a_functions_place_is_noticed(monkeypatch):
    from bittygpt.core import rmsnorm

    monkeypatch.setattr(rmsnorm, "rms_norm", functools.partial(rmsnorm.rms_norm))
    assert not Proof("rmsnorm.py:rms_norm").holds()


def test_an_update_of_an_optimizers_own_is_taken():
    weight = torch.nn.Parameter(torch.zeros(2))
    weight.grad = torch.ones(2)
    optimizer = fused(AdamW)([weight])
    optimizer.update = lambda w, *_: w.add_(1)
    optimizer.step()
    assert weight.tolist() == [1, 1]
