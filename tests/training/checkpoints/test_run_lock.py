"""One process per run: a second is told who holds it, and a dead one holds nothing."""

import os
import subprocess
import sys

import pytest

from bittygpt import file_lock
from bittygpt.errors import RunInUseError
from bittygpt.training.checkpoints import run_lock as module
from bittygpt.training.checkpoints.run_folder import RunFolder
from bittygpt.training.checkpoints.run_lock import open_run, run_lock

HOLD = """
import sys, time
from pathlib import Path
from bittygpt.training.checkpoints.run_lock import run_lock
with run_lock(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def holder(tmp_path, monkeypatch):
    """Another process that holds the folder."""
    monkeypatch.setattr(module, "PATIENCE", 0.2)
    process = subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.communicate()


def test_a_second_process_is_told_who_holds_the_run(holder, tmp_path):
    with (
        pytest.raises(RunInUseError, match=rf"is in use by process {holder.pid} on .* since 20"),
        run_lock(tmp_path),
    ):
        pass
    (tmp_path / ".lock").write_text("{")
    with pytest.raises(RunInUseError, match="is in use by another process"), run_lock(tmp_path):
        pass


def test_a_killed_process_holds_nothing(holder, tmp_path, monkeypatch):
    holder.kill()
    monkeypatch.setattr(module, "PATIENCE", 3.0)
    with run_lock(tmp_path):
        assert str(os.getpid()) in (tmp_path / ".lock").read_text()
    assert not (tmp_path / ".lock").exists()


def test_a_fresh_run_leaves_the_old_one_beside_it_unlocked(tmp_path):
    run, said = RunFolder(tmp_path / "run"), []
    with open_run(run, True, said.append):
        run.write_status(state="running")
    with open_run(run, True, said.append):
        assert run.read_status() == {}
        assert (run.path / ".lock").exists()
    assert len(said) == 1
    assert [p.name for p in (tmp_path / "run.1").iterdir()] == ["status.json"]


@pytest.mark.usefixtures("holder")
def test_a_run_that_is_held_is_not_moved(tmp_path):
    with pytest.raises(RunInUseError), open_run(RunFolder(tmp_path), True, print):
        pass
    assert tmp_path.exists()
    assert not tmp_path.with_name(f"{tmp_path.name}.1").exists()


def test_a_lock_whose_file_went_with_the_holder_is_taken_anew(tmp_path, monkeypatch):
    """Between opening the file and locking it, its holder may end and remove it."""
    flock, times = file_lock.fcntl.flock, []

    def removed_first(file, operation):
        if not times:
            (tmp_path / ".lock").unlink()
        times.append(1)
        flock(file, operation)

    monkeypatch.setattr(file_lock.fcntl, "flock", removed_first)
    with run_lock(tmp_path):
        assert (tmp_path / ".lock").exists()
    assert len(times) == 2


def test_a_file_system_without_locks_is_no_obstacle(tmp_path, monkeypatch):
    def refuse(*_):
        raise OSError(file_lock.errno.ENOLCK, "No locks available")

    monkeypatch.setattr(file_lock.fcntl, "flock", refuse)
    with run_lock(tmp_path):
        pass
