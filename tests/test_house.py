"""The layout holds: which room may import which, what core may touch, how long files and functions are."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parent.parent
PACKAGE = REPOSITORY / "bittygpt"
FILES = sorted(PACKAGE.rglob("*.py"))
MAX_LINES, MAX_FUNCTION = 220, 60
MAX_LINES_OF, MAX_FUNCTION_OF = {"core": 100}, {"core": 30}  # formulas are short
MAX_FILES = {"core": 18}  # the textbook's chapters lie side by side; elsewhere
MOST_FILES = 12
BASE = {"errors", "files", "file_lock", "stop_signals"}
MIDDLE = {
    *("tokenizer", "text", "data", "layouts", "training", "planning", "checks"),
    *("sampling", "export", "terminal", "tracking", "report"),
}
ALLOWED = {
    "core": set(),
    "engine": {"core"},
    "config": {"core"},  # names alone
    "tokenizer": set(),
    "text": {"tokenizer"},
    "data": {"tokenizer", "text", "core", "config"},
    "layouts": {"tokenizer", "core"},  # of other programs: `training` reads them, `export` writes them
    "training": {"layouts", "data", "tokenizer", "core", "engine", "config"},
    "planning": {"training", "core", "engine", "data", "tokenizer", "config"},
    "sampling": {"core", "engine", "data", "tokenizer"},
    "export": {"layouts", "core", "engine", "data", "tokenizer"},
    "checks": {"config", "core", "engine", "data", "tokenizer", "sampling", "training"},
    "terminal": {"checks", "training", "planning", "engine"},
    "tracking": {"terminal", "training", "engine"},
    "report": {"terminal", "tracking", "training", "config"},
    "commands": {"config", "core", "engine", *MIDDLE},
}
# what core writes itself, and only the tests may take from PyTorch
READY_MADE = {
    *("Linear", "Embedding", "RMSNorm", "LayerNorm", "MultiheadAttention", "Transformer", "CrossEntropyLoss"),
    *("linear", "embedding", "rms_norm", "layer_norm", "softmax", "log_softmax", "silu", "gelu", "relu"),
    *("cross_entropy", "nll_loss", "kl_div", "logsumexp", "clip_grad_norm_"),
}
# all that formulas need: no disk, no terminal, no clock
IN_CORE = {"bittygpt", "torch", "math", "typing", "dataclasses", "collections.abc"}
# what a formula has no word for, as it is the same whatever computes it: devices, compilers, kernels, fast paths
NO_WORDS_OF_CORE = "cuda cpu gpu mps xpu meta triton dynamo compil kernel twin fused autocast data_ptr stride"
NO_WORDS_OF_CORE += (
    " contiguous layout functorch jit export trace is_grad library ctypes backward engine accelerat"
)


def trees():
    return [(path, ast.parse(path.read_text())) for path in FILES]


def imports(tree):
    """Every imported module with the names taken from it, also those inside functions."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, ()) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module or "", tuple(alias.name for alias in node.names)


def room(path):
    parts = path.relative_to(PACKAGE).parts
    return parts[0] if len(parts) > 1 else None


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_files_and_functions_are_short(path):
    text = path.read_text()
    assert text.count("\n") <= MAX_LINES_OF.get(room(path), MAX_LINES)
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef):
            length = node.end_lineno - node.lineno + 1
            assert length <= MAX_FUNCTION_OF.get(room(path), MAX_FUNCTION), node.name


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_rooms_import_one_way(path):
    if room(path) is None:
        return
    for module, _ in imports(ast.parse(path.read_text())):
        parts = module.split(".")
        if parts[0] == "bittygpt" and len(parts) > 1:
            own = {room(path)} | (BASE if room(path) != "core" else set())
            assert parts[1] in ALLOWED[room(path)] | own, module


def test_there_is_no_import_cycle():
    """Not even one that a function or a type checker closes."""
    names = {
        str(p.relative_to(REPOSITORY).with_suffix("")).replace("/", ".").removesuffix(".__init__"): p
        for p in FILES
    }
    edges = {}
    for name, path in names.items():
        found = set()
        for module, taken in imports(ast.parse(path.read_text())):
            submodules = {f"{module}.{each}" for each in taken} & names.keys()
            found |= submodules
            if module in names and len(submodules) < max(1, len(taken)):
                found.add(module)
        edges[name] = found - {name}
    done, path_here = set(), []

    def visit(name):
        assert name not in path_here, f"cycle: {' -> '.join([*path_here, name])}"
        if name not in done:
            path_here.append(name)
            for other in edges[name]:
                visit(other)
            path_here.pop()
            done.add(name)

    for name in names:
        visit(name)


FOLDERS = sorted({path.parent for path in FILES})


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda p: str(p.relative_to(REPOSITORY)))
def test_a_folder_holds_about_a_dozen_files(folder):
    files = [path for path in folder.glob("*.py") if not path.name.startswith("__")]
    assert len(files) <= MAX_FILES.get(folder.name, MOST_FILES)


CORE = pytest.mark.parametrize("path", [p for p in FILES if room(p) == "core"], ids=lambda p: p.name)


@CORE
def test_core_is_pure_and_from_scratch(path):
    tree = ast.parse(path.read_text())
    for module, names in imports(tree):
        assert module in IN_CORE or module.split(".")[0] == "bittygpt", module
        if module.startswith("torch"):
            assert not READY_MADE & set(names), names
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            assert node.func.id not in {"print", "open"}
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name | ast.Attribute):
            owner = ast.unparse(node.value)
            if owner in {"F", "nn", "torch", "torch.nn", "nn.functional", "torch.nn.functional", "nn.utils"}:
                assert node.attr not in READY_MADE, ast.unparse(node)
            if owner == "torch.optim":
                assert node.attr == "Optimizer"


def words(tree):
    """Every name, attribute, argument and import; what stands in strings is not among them."""
    for node in ast.walk(tree):
        for field in ("id", "attr", "arg", "name", "asname", "module"):
            if isinstance(word := getattr(node, field, None), str):
                yield word.lower()


@CORE
def test_core_has_no_word_for_what_computes(path):
    found = {
        word for word in words(ast.parse(path.read_text())) for no in NO_WORDS_OF_CORE.split() if no in word
    }
    assert found == set()


def test_bitty_is_no_import_of_the_package_but_its_tests():
    users = {p.name for p, tree in trees() for module, _ in imports(tree) if module.split(".")[0] == "bitty"}
    assert users <= {"tokenizer.py"}


def test_importing_bittygpt_and_asking_for_help_load_nothing_heavy():
    code = (
        "import sys, bittygpt, bittygpt.cli\n"
        "heavy = {'torch', 'numpy', 'pydantic', 'matplotlib', 'tiktoken', 'safetensors', 'transformers'}\n"
        "sys.exit(' '.join(sorted(heavy & set(sys.modules))) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.parametrize("name", sorted({room(p) for p in FILES if room(p)}))
def test_every_room_has_tests(name):
    assert (
        list((REPOSITORY / "tests").glob(f"{name}/test_*.py"))
        or (REPOSITORY / "tests" / f"test_{name}.py").exists()
    )


def test_public_functions_and_modules_have_docstrings():
    for path, tree in trees():
        if path.stat().st_size:
            assert ast.get_docstring(tree), path
        for node in ast.walk(tree):
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                assert ast.get_docstring(node), f"{path.name}: {node.name}"
        for node in tree.body:
            if isinstance(node, ast.FunctionDef) and not node.name.startswith("_"):
                assert ast.get_docstring(node), f"{path.name}: {node.name}"
