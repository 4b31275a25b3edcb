"""Compiling cpu.c: once, whatever the machine; and what happens where that cannot be done, or goes wrong."""

import os
import subprocess
import sys
import warnings

import pytest
import torch

from bittygpt.engine.kernels import c_compiler, cpu

pytestmark = pytest.mark.skipif(c_compiler.library(torch.float32) is None, reason="there is no C compiler")


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """An empty one; and what this process has loaded already is forgotten."""
    monkeypatch.setenv("BITTYGPT_CACHE", str(tmp_path / "cache"))
    c_compiler._library.cache_clear()
    c_compiler._warn.cache_clear()
    yield tmp_path / "cache" / "kernels"
    c_compiler._library.cache_clear()


@pytest.fixture
def commands(monkeypatch):
    """The compilers that are run."""
    run, seen = subprocess.run, []
    monkeypatch.setattr(subprocess, "run", lambda command, **how: seen.append(command) or run(command, **how))
    return seen


def is_used():
    return cpu.work_in(torch.float32)


def with_source(monkeypatch, tmp_path, old, new):
    source = c_compiler.SOURCE.read_text()
    assert source.count(old) == 1
    (tmp_path / "other.c").write_text(source.replace(old, new))
    monkeypatch.setattr(c_compiler, "SOURCE", tmp_path / "other.c")


def test_it_is_compiled_once_for_each_precision(cache, commands):
    for _ in range(2):
        assert c_compiler.library(torch.float32)
        assert c_compiler.library(torch.bfloat16)
        c_compiler._library.cache_clear()  # as in the next process
    assert len(commands) == 2
    assert len(list(cache.iterdir())) == 2  # and nothing half-made


def in_another_process(seed="0"):
    program = "import torch; from bittygpt.engine.kernels import cpu; cpu.work_in(torch.float32)"
    environment = {**os.environ, "PYTHONHASHSEED": seed}
    subprocess.run([sys.executable, "-c", program], env=environment, check=True)


def test_the_next_process_finds_it(cache):
    for seed in ("1", "2"):
        in_another_process(seed)
    assert len(list(cache.iterdir())) == 1


def test_there_is_none_for_another_precision(commands):
    assert c_compiler.library(torch.float16) is None
    assert not commands


@pytest.mark.parametrize("change", ["source", "compiler", "processor"])
def test_it_is_compiled_anew_where_something_else_is_at_hand(change, commands, monkeypatch, tmp_path):
    assert is_used()
    c_compiler._library.cache_clear()
    if change == "source":
        with_source(monkeypatch, tmp_path, "32768", "16384")
    elif change == "compiler":
        monkeypatch.setenv("CC", f"{c_compiler._compilers()[0][0]} -g0")
    else:
        monkeypatch.setattr(c_compiler, "_machine", lambda _: ["a processor with other instructions"])
    assert is_used()
    assert len(commands) == 2


@pytest.mark.parametrize("why", ["no compiler", "CC names none", "not Linux"])
def test_without_a_compiler_pytorch_computes_and_nothing_is_said(why, commands, monkeypatch, tmp_path):
    if why == "not Linux":
        monkeypatch.setattr(sys, "platform", "darwin")
    elif why == "CC names none":
        monkeypatch.setenv("CC", "no-such-compiler")
    else:
        monkeypatch.delenv("CC", raising=False)
        monkeypatch.setenv("PATH", str(tmp_path))
    assert not is_used()
    assert not commands


def assert_warned_once(match):
    with pytest.warns(UserWarning, match=match) as said:
        found = [c_compiler.library(precision) for precision in c_compiler.DEFINITIONS]
    assert found == [None, None]
    assert len(said) == 1
    assert "PyTorch's operations instead of compiled ones on the CPU" in str(said[0].message)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert not is_used()


def test_what_the_compiler_refuses_is_said_once(cache, monkeypatch, tmp_path):
    with_source(monkeypatch, tmp_path, "#include <omp.h>", "#include <no-such-header.h>")
    assert_warned_once("no-such-header.h")
    assert not list(cache.iterdir())


def test_a_compiler_that_hangs_is_given_up(monkeypatch, tmp_path):
    compiler = tmp_path / "cc"
    compiler.write_text("#!/bin/sh\nexec sleep 60\n")
    compiler.chmod(0o755)
    monkeypatch.setenv("CC", str(compiler))
    monkeypatch.setattr(c_compiler, "TIME_LIMIT", 0.1)
    assert_warned_once("took more than 0.1 seconds")


def test_wrong_numbers_are_not_computed_with(monkeypatch, tmp_path):
    with_source(monkeypatch, tmp_path, "logf(sum) + (largest", "logf(sum) + (1.0f + largest")
    assert_warned_once("loss and gradient came out as")


def test_threads_that_are_not_pytorchs_are_not_used(monkeypatch, tmp_path):
    with_source(monkeypatch, tmp_path, "return omp_get_max_threads();", "return 1;")
    before = torch.get_num_threads()
    assert_warned_once("threads would not be those of PyTorch")
    assert torch.get_num_threads() == before


def test_a_broken_file_in_the_cache_is_made_anew(cache, commands):
    in_another_process()
    (file,) = cache.iterdir()
    file.write_bytes(file.read_bytes()[:100])
    commands.clear()
    for _ in range(2):
        assert is_used()
        c_compiler._library.cache_clear()
    assert len(commands) == 1


def test_where_the_cache_cannot_be_written_it_is_compiled_for_this_run(cache, commands):
    cache.parent.mkdir()
    cache.write_text("no folder")
    assert is_used()
    assert len(commands) == 1
    assert commands[0][-2].startswith("/tmp") or "bittygpt-" in commands[0][-2]


def test_without_a_home_it_is_compiled_for_this_run(monkeypatch, commands):
    monkeypatch.delenv("BITTYGPT_CACHE")
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr("pathlib.Path.home", lambda: (_ for _ in ()).throw(RuntimeError("no home")))
    assert is_used()
    assert len(commands) == 1


def test_where_cc_does_not_suit_gcc_is_tried(monkeypatch, tmp_path, commands):
    compilers = c_compiler._compilers()
    (tmp_path / "cc").write_text("#!/bin/sh\necho this is another compiler >&2\nexit 1\n")
    (tmp_path / "cc").chmod(0o755)
    monkeypatch.setattr(c_compiler, "_compilers", lambda: [[str(tmp_path / "cc")], compilers[-1]])
    assert is_used()
    assert [command[0] for command in commands][-1] == compilers[-1][0]
