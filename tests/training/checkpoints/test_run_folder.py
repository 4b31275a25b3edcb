"""metrics.jsonl and status.json."""

import pytest

from bittygpt.files import remove_leftovers
from bittygpt.training.checkpoints.run_folder import RunFolder


@pytest.fixture
def run(tmp_path):
    folder = RunFolder(tmp_path / "run")
    folder.write_status(state="running")
    for step in (1, 2, 3):
        folder.log({"event": "step", "step": step})
    folder.log({"event": "eval", "step": 3, "val_loss": 1.5})
    return folder


def test_events_come_back_and_a_line_cut_by_a_kill_does_not(run):
    with open(run.metrics, "a") as file:
        file.write('{"event": "step", "step": 4')
    assert [e["step"] for e in run.events()] == [1, 2, 3, 3]
    run.truncate_after(3, 0)
    run.log({"event": "step", "step": 4})
    assert [e["step"] for e in run.events()] == [1, 2, 3, 3, 4]


def test_later_steps_are_forgotten(run):
    run.truncate_after(2, 0)
    assert [e["step"] for e in run.events()] == [1, 2]
    assert run.validation_losses() == {}


def test_starts_and_stops_are_not_forgotten_and_the_highest_step_is_told(run):
    run.log({"event": "interrupted", "step": 3})
    run.log({"event": "resume", "step": 3, "reached": 3})
    run.log({"event": "sample", "step": 4})
    assert run.truncate_after(1, 0) == 4
    assert [(e["event"], e["step"]) for e in run.events()] == [("step", 1), ("interrupted", 3), ("resume", 3)]


def test_what_a_killed_process_left_half_written_goes(run):
    (run.path / ".status.json.12-34.tmp").write_text("{")
    remove_leftovers(run.path)
    assert sorted(p.name for p in run.path.iterdir()) == ["metrics.jsonl", "status.json"]


def test_validation_losses_by_step(run):
    assert run.validation_losses() == {3: 1.5}


def test_setting_aside_keeps_every_old_run(run):
    moved = [run.move_to_backup()]
    run.write_status(state="running")
    moved.append(run.move_to_backup())
    assert [path.name for path in moved] == ["run.1", "run.2"]
    assert not run.path.exists()
    assert run.read_status() == {}
