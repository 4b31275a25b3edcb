"""What a learner does: edit a line of core, train, and take texts and exports of what was trained. On a copy."""

import json
import shutil
import sys
from pathlib import Path

import pytest

import bittygpt

SILU = ("activations.py", "return x * torch.sigmoid(x)", "return x * torch.sigmoid(1.7 * x) + 0.1")
NORM = (
    "rmsnorm.py",
    "return (x32 * inverse_rms * upcast(gain_D))",
    "return (x32 * inverse_rms.sqrt() * upcast(gain_D))",
)
LOSS = ("cross_entropy.py", "    total = losses.sum()", "    total = losses.sum() * 1.5")
ADAM = ("adamw.py", "w.sub_(lr * m_hat", "w.sub_(1.01 * lr * m_hat")
GREEDY = ("sample", "--ckpt", "runs/tiny", "--temperature", "0", "--json", "--ignore-eos")
BY_FULL_PASSES = """
import json, sys, torch, bittygpt
model, tokenizer = bittygpt.load("runs/tiny")
ids = tokenizer.encode("the")
with torch.no_grad():
    for _ in range(12):
        logits = model(torch.tensor([ids]))[0, -1]
        logits[tokenizer.end_of_text_id] = -float("inf")
        ids.append(int(logits.argmax()))
print(json.dumps(ids[-12:]))
"""


class Copy:
    """The command line of a copy of the package, of which formulas can be edited."""

    def __init__(self, line):
        self.line = line
        self.core = line.folder / "package/bittygpt/core"
        if not self.core.exists():
            ignored = shutil.ignore_patterns("__pycache__")
            shutil.copytree(Path(bittygpt.__file__).parent, self.core.parent, ignore=ignored)
        line.environment["PYTHONPATH"] = str(self.core.parent.parent)

    def edit(self, file, old, new):
        text = (self.core / file).read_text()
        assert text.count(old) == 1
        (self.core / file).write_text(text.replace(old, new))

    def undo(self, file, old, new):
        self.edit(file, new, old)


@pytest.fixture(scope="module")
def edited(command_line, tmp_path_factory):
    """A copy with another SiLU and another RMSNorm, and a run of theirs; tests put back what they edit."""
    copy = Copy(command_line(tmp_path_factory.mktemp("edited")))
    for edit in (SILU, NORM):
        copy.edit(*edit)
    copy.said = copy.line("train", "tiny.yaml", "model.context_length=32").stderr
    return copy


def test_training_says_what_computes_and_the_run_remembers_it(edited):
    assert "core/activations.py was changed: silu;" in edited.said
    assert "core/rmsnorm.py was changed: rms_norm;" in edited.said
    assert edited.line.events()[0]["changed"] == ["core/activations.py (silu)", "core/rmsnorm.py (rms_norm)"]
    (state, *_) = edited.line.folder.glob("runs/tiny/checkpoints/*12/state.json")
    assert set(json.loads(state.read_text())["formulas"]) == {"activations.py:silu", "rmsnorm.py:rms_norm"}
    assert "core/activations.py (silu)" in (edited.line.folder / "runs/tiny/report.html").read_text()
    assert (
        "core/activations.py was changed" in edited.line("train", "tiny.yaml", "run.name=b", "--plan").stderr
    )


def test_texts_are_those_of_the_edited_model(edited):
    found = edited.line(*GREEDY)
    assert "core/rmsnorm.py was changed: rms_norm; texts are computed by the model itself" in found.stderr
    expected = edited.line.run(sys.executable, "-c", BY_FULL_PASSES)
    assert json.loads(found.stdout)["tokens"] == json.loads(expected.stdout)


def test_exports_of_another_architecture_are_refused_and_the_traced_one_is_not(edited):
    for format in ("hf", "onnx"):
        refused = edited.line("export", "--ckpt", "runs/tiny", "--format", format, "--out", "out", code=2)
        assert "core/activations.py (silu), core/rmsnorm.py (rms_norm)" in refused.stderr
        assert not (edited.line.folder / "out").exists()
    done = edited.line("export", "--ckpt", "runs/tiny", "--format", "torch", "--out", "tiny.pt2")
    assert "the same model" in done.stdout


def test_formulas_that_learning_alone_needs_matter_to_resuming_alone(edited):
    for edit in (LOSS, ADAM):
        edited.edit(*edit)
    edited.line(*GREEDY, "--max-tokens", "2")
    scored = edited.line("sample", "--ckpt", "runs/tiny", "--score", "text.txt", code=2)
    assert "core/cross_entropy.py (cross_entropy)" in scored.stderr
    assert "adamw" not in scored.stderr
    refused = edited.line("train", "tiny.yaml", "model.context_length=32", code=2)
    assert "core/adamw.py: Adam.update: another formula than in training" in refused.stderr
    assert "core/cross_entropy.py: cross_entropy" in refused.stderr
    assert "--fresh" in refused.stderr
    for edit in (LOSS, ADAM):
        edited.undo(*edit)


def test_an_edit_undone_is_refused_by_what_needs_the_model(edited):
    edited.undo(*SILU)
    for command in (GREEDY, ("export", "--ckpt", "runs/tiny", "--format", "torch", "--out", "out")):
        refused = edited.line(*command, code=2)
        assert "trained with other formulas than today's: core/activations.py (silu);" in refused.stderr
    refused = edited.line("train", "tiny.yaml", "model.context_length=32", "train.max_steps=13", code=2)
    assert "does not fit the config and today's formulas" in refused.stderr
    assert "core/activations.py: silu: another formula than in training" in refused.stderr
    from_there = (
        "run.name=next",
        "train.init_from=runs/tiny",
        "model.context_length=32",
        "train.max_steps=2",
    )
    started = edited.line("train", "tiny.yaml", *from_there)
    assert "train.init_from: runs/tiny was trained with other formulas than today's" in started.stderr
    edited.edit(*SILU)
