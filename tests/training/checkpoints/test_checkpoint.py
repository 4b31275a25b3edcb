"""Checkpoints: what is damaged is recognised, what is half-written is absent, and any good one can be found."""

import errno
import json
import os
import shutil
from pathlib import Path

import pytest
import torch

import bittygpt
from bittygpt.errors import CheckpointError
from bittygpt.training.checkpoints import checkpoint as checkpoint_module
from bittygpt.training.checkpoints.checkpoint_folder import (
    FILES,
    clean_up,
    find_checkpoint,
    find_fault,
    list_checkpoints,
    newest_good,
    quarantine_damaged,
)
from bittygpt.training.checkpoints.run_folder import RunFolder


@pytest.fixture
def run(make_trainer, finish, tmp_path):
    """A finished run with its log: checkpoints 2, 4, 6, 8, the best of which is 4."""
    trainer = make_trainer("train.keep=9", folder="run/checkpoints")
    finish(trainer)
    folder = RunFolder(tmp_path / "run")
    for step, loss in ((4, 1.0), (8, 2.0)):
        folder.log({"event": "eval", "step": step, "val_loss": loss})
    return folder


def damage(kind, path):
    data = path.read_bytes()
    if kind == "removed":
        path.unlink()
    elif kind == "emptied":
        path.write_bytes(b"")
    elif kind == "cut short":
        path.write_bytes(data[:-1])
    else:
        path.write_bytes(bytes([data[0] ^ 1]) + data[1:])


@pytest.mark.parametrize("kind", ["removed", "emptied", "cut short", "one bit flipped"])
def test_any_damage_is_recognised_and_the_checkpoint_before_is_taken(run, kind, tmp_path):
    newest = run.checkpoints / "step-00000008"
    for name in [*FILES, "manifest.json"]:
        kept = tmp_path / "kept"
        shutil.copytree(newest, kept)
        damage(kind, newest / name)
        said = []
        assert newest_good(run.checkpoints, said.append) == run.checkpoints / "step-00000006", name
        assert "step-00000008" in said[0]
        with pytest.raises(CheckpointError):
            find_checkpoint(str(newest), pytest.fail)
        shutil.rmtree(newest)
        kept.rename(newest)
    assert find_fault(newest) is None


def test_a_crash_while_saving_leaves_no_checkpoint(make_trainer, monkeypatch):
    trainer = make_trainer()
    monkeypatch.setattr(checkpoint_module, "write_text", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        list(trainer.run(lambda: False, {}))
    assert list_checkpoints(trainer.saver.folder) == []
    assert list(trainer.saver.folder.iterdir()) == []


def test_leftovers_of_a_kill_are_cleaned_up_and_never_taken(run):
    for name in (".step-00000010.77.tmp", ".step-00000002.removed"):
        shutil.copytree(run.checkpoints / "step-00000008", run.checkpoints / name)
    assert len(list_checkpoints(run.checkpoints)) == 4
    clean_up(run.checkpoints)
    assert not list(run.checkpoints.glob(".*"))


def test_a_run_its_best_and_a_folder_can_be_named(run):
    assert find_checkpoint(str(run.path), pytest.fail).name == "step-00000008"
    assert find_checkpoint(f"{run.path}:best", pytest.fail).name == "step-00000004"
    folder = run.checkpoints / "step-00000002"
    assert find_checkpoint(str(folder), pytest.fail) == folder


@pytest.mark.parametrize("spec", ["nowhere", "nowhere:best", "."])
def test_nothing_there_is_a_message(tmp_path, monkeypatch, spec):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(CheckpointError, match="--ckpt"):
        find_checkpoint(spec, pytest.fail)


def test_a_folder_that_is_no_run_names_those_that_are(run, monkeypatch):
    monkeypatch.chdir(run.path.parent.parent)
    runs = run.path.parent.name
    one_of = rf"is no run, it has no folder of checkpoints; name one of them: {runs}/{run.path.name}$"
    for spec in (runs, f"{runs}:best", f"{runs}/{run.path.name}/checkpoints"):
        (run.path / "config.yaml").touch()
        with pytest.raises(CheckpointError, match=one_of):
            find_checkpoint(spec, pytest.fail)
    with pytest.raises(CheckpointError, match=r"--ckpt '' names no run; give runs/NAME"):
        find_checkpoint("", pytest.fail)


@pytest.mark.parametrize("name", ["", "checkpoints"])
def test_a_folder_that_must_not_be_read_is_said_to_be_there(run, monkeypatch, name):
    def listdir(folder, listed=os.listdir):  # the tests may run as root, who may read all
        if Path(folder) == run.path / name:
            raise PermissionError(errno.EACCES, "Permission denied")
        return listed(folder)

    monkeypatch.setattr(os, "listdir", listdir)
    with pytest.raises(CheckpointError, match=r"cannot be read \(Permission denied\); make it readable"):
        find_checkpoint(str(run.path), pytest.fail)


def test_load_gives_model_and_tokenizer_of_a_checkpoint_alone(run, tmp_path):
    alone = tmp_path / "elsewhere"
    shutil.copytree(run.checkpoints / "step-00000008", alone)
    model, tokenizer = bittygpt.load(alone)
    same_model, _ = bittygpt.load(run.path)
    ids = torch.tensor([tokenizer.encode("hello")])
    assert tokenizer.decode(ids[0].tolist()) == "hello"
    logits = model(ids)
    assert logits.shape == (1, 5, 257)
    assert not model.training
    assert torch.equal(logits, same_model(ids))


def test_load_warns_of_a_damaged_checkpoint(run):
    (run.checkpoints / "step-00000008" / "model.safetensors").write_bytes(b"")
    with pytest.warns(UserWarning, match="step-00000008: model.safetensors is not what was written"):
        bittygpt.load(run.path)


def test_nothing_is_pickled_and_the_state_is_json(run):
    folder = run.checkpoints / "step-00000008"
    assert sorted(path.name for path in folder.iterdir()) == sorted([*FILES, "manifest.json"])
    assert len({path.stat().st_mode for path in folder.iterdir()}) == 1, (
        "one may be read by fewer than another"
    )
    state = json.loads((folder / "state.json").read_text())
    assert (state["step"], state["tokens"]) == (8, 8 * 64)


def test_damaged_newer_checkpoints_neither_count_for_keep_nor_vanish(run):
    newest = run.checkpoints / "step-00000008"
    (newest / "state.json").write_text("{}")
    said = []
    quarantine_damaged(run.checkpoints, said.append)
    assert "state.json is not what was written" in said[0]
    assert (run.checkpoints / "damaged-step-00000008" / "state.json").read_text() == "{}"
    assert [step for step, _ in list_checkpoints(run.checkpoints)] == [6, 4, 2]


def test_a_run_without_a_good_checkpoint_is_not_started_over_in_silence(run):
    for path in run.checkpoints.iterdir():
        (path / "state.json").write_text("{}")
    with pytest.raises(CheckpointError, match="no other checkpoint of the run is good; --fresh"):
        quarantine_damaged(run.checkpoints, pytest.fail)
    assert len(list_checkpoints(run.checkpoints)) == 4
