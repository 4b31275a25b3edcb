"""`bittygpt train --check` through the real command line."""

import json
import shutil
from pathlib import Path

import pytest

import bittygpt as package
from bittygpt.training.checkpoints.run_folder import RunFolder
from bittygpt.training.checkpoints.run_lock import open_run


def files_below(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def edited(bittygpt, tmp_path):
    """A function that edits a copy of the package, and lets the command line run that."""
    copy = tmp_path / "edited"
    shutil.copytree(
        Path(package.__file__).parent, copy / "bittygpt", ignore=shutil.ignore_patterns("__pycache__")
    )
    bittygpt.environment |= {"PYTHONPATH": str(copy), "PYTHONDONTWRITEBYTECODE": "1"}

    def edit(file: str, old: str, new: str) -> None:
        path = copy / "bittygpt" / file
        assert path.read_text().count(old) == 1, "plant this mistake anew"
        path.write_text(path.read_text().replace(old, new))

    return edit


def test_all_is_right_on_the_runs_own_tokens_and_nothing_is_left_or_held(bittygpt):
    bittygpt("tokenize", "tiny.yaml")
    before = files_below(bittygpt.folder)
    with open_run(RunFolder(bittygpt.folder / "runs/tiny"), False, print):
        held = files_below(bittygpt.folder)
        done = bittygpt("train", "tiny.yaml", "--check", "--json")
        assert files_below(bittygpt.folder) == held
    outcomes = json.loads(done.stdout)
    assert {outcome["state"] for outcome in outcomes} == {"passed"}
    assert len(outcomes) > 40
    for outcome in outcomes:
        assert outcome["value"] <= outcome["limit"]
        assert (Path(package.__file__).parent.parent / outcome["look_in"]).exists()
    assert "d_model 16 -> 32" in done.stderr
    assert "random tokens" not in done.stderr
    assert f"{len(outcomes)} checks passed" in done.stderr
    assert set(before) <= set(held)


def test_what_was_broken_is_named_with_its_file(bittygpt, edited):
    edited("core/rmsnorm.py", "mean(dim=-1, keepdim=True) + eps)", "mean(dim=-1, keepdim=True))")
    edited("core/sgd.py", 'if group["momentum"]:', "if grupp:")
    done = bittygpt("train", "tiny.yaml", "optim.name=sgd", "--check", code=1)
    lines = {line.split(":")[0]: line for line in done.stdout.splitlines()}
    norm = lines["FAILED  RMSNorm equals torch's, tiny vectors, too"]
    assert norm.endswith("look in bittygpt/core/rmsnorm.py")
    place = done.stdout.split("NameError: name 'grupp' is not defined; look in ")[1].split()[0]
    number = int(place.removeprefix("bittygpt/core/sgd.py:"))
    assert "grupp" in (bittygpt.folder / "edited/bittygpt/core/sgd.py").read_text().splitlines()[number - 1]
    assert lines["ok      softmax equals torch's, huge scores, too"].endswith("(limit 2e-05)")
    assert "bittygpt/core/sgd.py" in done.stdout.splitlines()[-1]
    assert "random tokens: data/tiny holds none yet" in done.stdout
    assert not (bittygpt.folder / "data").exists()
    assert not (bittygpt.folder / "runs").exists()


def test_what_was_changed_on_purpose_is_named_first_and_is_no_failure(bittygpt, edited):
    edited("core/activations.py", "return x * torch.sigmoid(x)", "return x * torch.sigmoid(1.5 * x)")
    done = bittygpt("train", "tiny.yaml", "--check")
    lines = done.stdout.splitlines()
    assert lines[0].startswith("core/activations.py was changed: silu; ")
    (changed,) = [line for line in lines if line.startswith("changed")]
    assert changed.startswith(
        "changed activations equal torch's: you changed core/activations.py: silu; differs by "
    )
    assert "its gradient is that of its value" in changed
    assert ", 1 changed, 1 skipped, in " in lines[-1]


def test_code_that_cannot_be_imported_is_a_failed_check(bittygpt, edited):
    edited("core/rope.py", "def apply_rotary(", "def apply_rotary((")
    (outcome,) = json.loads(bittygpt("train", "tiny.yaml", "--check", "--json", code=1).stdout)
    assert outcome["promise"] == "the code can be imported"
    assert outcome["look_in"].startswith("bittygpt/core/rope.py:")
    assert outcome["found"].startswith("SyntaxError")


def test_check_and_fresh_do_not_go_together(bittygpt):
    assert "leave out --fresh" in bittygpt("train", "tiny.yaml", "--check", "--fresh", code=2).stderr
    assert "optim.lrr" in bittygpt("train", "tiny.yaml", "optim.lrr=1", "--check", code=2).stderr
