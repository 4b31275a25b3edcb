"""Other programs on the processors are seen, and told of where they are in the way."""

import subprocess
import sys
import time

import pytest
import torch

from bittygpt.planning import cpu_load
from bittygpt.planning.cpu_load import OtherPrograms, busy_note


def stat(tmp_path, monkeypatch, text):
    file = tmp_path / "stat"
    file.write_text(text)
    monkeypatch.setattr(cpu_load, "PROC_STAT", file)
    return file


def test_what_this_process_does_itself_is_not_counted(tmp_path, monkeypatch):
    file = stat(tmp_path, monkeypatch, "cpu  100 0 100 5000 70 0 0 0 0 0\ncpu0 1 2 3\n")
    monkeypatch.setattr(cpu_load.os, "sysconf", lambda _: 100)
    clocks = {"process_time": 10.0, "perf_counter": 50.0}
    for name in clocks:
        monkeypatch.setattr(cpu_load.time, name, lambda name=name: clocks[name])
    others = OtherPrograms()
    clocks.update(process_time=12.0, perf_counter=54.0)  # 2 s of work in 4 s
    file.write_text("cpu  500 0 300 9000 90 0 0 0 0 0\n")  # 6 s of work of all
    assert others.processors() == pytest.approx((6 - 2) / 4)


@pytest.mark.parametrize("text", ["", "cpu\n", "cpu x y\n"])
def test_a_system_that_does_not_tell_has_no_other_programs(tmp_path, monkeypatch, text):
    stat(tmp_path, monkeypatch, text)
    others = OtherPrograms()
    assert others.processors() == 0.0


def test_no_file_to_read_is_no_error(tmp_path, monkeypatch):
    monkeypatch.setattr(cpu_load, "PROC_STAT", tmp_path / "none")
    assert OtherPrograms().processors() == 0.0


@pytest.mark.skipif(not cpu_load.PROC_STAT.exists(), reason="the system has no /proc/stat")
def test_a_program_at_work_is_seen():
    others = OtherPrograms()
    with subprocess.Popen([sys.executable, "-c", "while True: pass"]) as process:
        time.sleep(1.0)
        process.kill()
    assert others.processors() > 0.2


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
