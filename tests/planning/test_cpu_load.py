"""Other programs on the processors are seen, and told of where they are in the way."""

import subprocess
import sys
import time

import pytest
import torch

from bittygpt.planning import cpu_load
from bittygpt.planning.cpu_load import busy_note, seconds_of_others


def stat(tmp_path, monkeypatch, text):
    file = tmp_path / "stat"
    file.write_text(text)
    monkeypatch.setattr(cpu_load, "PROC_STAT", file)
    return file


def test_what_this_process_does_itself_is_not_counted(tmp_path, monkeypatch):
    file = stat(tmp_path, monkeypatch, "cpu  100 0 100 5000 70 0 0 0 0 0\ncpu0 1 2 3\n")
    monkeypatch.setattr(cpu_load.os, "sysconf", lambda _: 100)
    computed = [10.0, 12.0]
    monkeypatch.setattr(cpu_load.time, "process_time", lambda: computed.pop(0))
    before = seconds_of_others()
    file.write_text("cpu  500 0 300 9000 90 0 0 0 0 0\n")  # 6 s of work of all, 2 of them ours
    assert seconds_of_others() - before == pytest.approx(6 - 2)


@pytest.mark.parametrize("text", ["", "cpu\n", "cpu x y\n"])
def test_a_system_that_does_not_tell_has_no_other_programs(tmp_path, monkeypatch, text):
    stat(tmp_path, monkeypatch, text)
    assert seconds_of_others() == 0.0


def test_no_file_to_read_is_no_error(tmp_path, monkeypatch):
    monkeypatch.setattr(cpu_load, "PROC_STAT", tmp_path / "none")
    assert seconds_of_others() == 0.0


@pytest.mark.skipif(not cpu_load.PROC_STAT.exists(), reason="the system has no /proc/stat")
def test_a_program_at_work_is_seen():
    before = seconds_of_others()
    with subprocess.Popen([sys.executable, "-c", "while True: pass"]) as process:
        time.sleep(1.0)
        process.kill()
    assert seconds_of_others() - before > 0.2


@pytest.mark.parametrize(
    ("others", "threads", "told"),
    [(0.1, 2, False), (1.0, 2, True), (1.0, 1, False), (1.6, 1, True), (0.4, 2, True)],
)
def test_it_is_told_where_processors_are_too_few(others, threads, told, monkeypatch):
    monkeypatch.setattr(cpu_load.os, "cpu_count", lambda: 2)
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads)
    note = busy_note(others)
    assert bool(note) is told
    if told:
        assert "OMP_NUM_THREADS=1" in note
