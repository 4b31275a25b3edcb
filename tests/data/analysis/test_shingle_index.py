"""The index of runs of 8 tokens against looking at every place, with parts so small that several are merged."""

import errno
import os
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bittygpt.data.analysis import shingle_index
from bittygpt.data.analysis.near_duplicates import SHINGLE
from bittygpt.data.analysis.shingle_index import _merge, open_index
from bittygpt.data.shards import TokenSplit
from bittygpt.errors import DataError


def split_of(folder, *shards):
    """Tokens on disk, in one or several shards."""
    described = []
    for number, tokens in enumerate(shards):
        np.save(folder / f"train-{number:05d}.npy", np.asarray(tokens, np.uint16))
        described.append({"file": f"train-{number:05d}.npy", "tokens": len(tokens)})
    return TokenSplit(folder, described)


def quiet(*_):
    pass


def places_by_looking(tokens, run):
    return [at for at in range(len(tokens) - SHINGLE + 1) if list(tokens[at : at + SHINGLE]) == list(run)]


def places_by_index(index, run):
    (first,), (end,) = index.ranges(np.asarray(run, np.int64))
    return [int(at) for piece in index.places(np.asarray(run, np.int64), first, end) for at in piece]


@pytest.mark.parametrize("kind", ["few letters", "one letter", "a loop", "many letters"])
@pytest.mark.parametrize("part", [16, 100, 10**6])
def test_every_place_is_found_whatever_the_text_and_the_memory(tmp_path, monkeypatch, kind, part):
    monkeypatch.setattr(shingle_index, "PART", part)
    random = np.random.default_rng(0)
    tokens = {
        "few letters": random.integers(0, 2, 700),
        "one letter": np.full(700, 7),
        "a loop": np.resize(np.arange(13), 700),
        "many letters": random.integers(0, 60_000, 700),
    }[kind]
    index = open_index(tmp_path, split_of(tmp_path, tokens[:300], tokens[300:]), "a" * 64, quiet)
    runs = [tokens[at : at + SHINGLE] for at in (0, 295, 692)] + [random.integers(0, 2, SHINGLE)]
    for run in runs:
        assert places_by_index(index, run) == places_by_looking(tokens, run)


def test_memory_is_bounded_whatever_repeats(monkeypatch):
    """What is merged at once is no more than a part, also where all hashes are equal."""
    monkeypatch.setattr(shingle_index, "PART", 64)
    numbers = np.random.default_rng(0).permutation(1000).astype(np.uint64)
    parts = [np.sort(numbers[first : first + 64]) for first in range(0, 1000, 64)]
    merged = list(_merge(parts))
    assert max(len(piece) for piece in merged) <= 64
    assert np.concatenate(merged).tolist() == list(range(1000))


@given(st.lists(st.integers(0, 3), max_size=60), st.integers(1, 20), st.integers(0, 59))
def test_any_order_of_any_positions(tokens, size, shift):
    """`TokenSplit.at` reads single tokens over all shards."""
    split = TokenSplit.__new__(TokenSplit)
    array = np.asarray(tokens, np.uint16)
    split._arrays = [array[first : first + size] for first in range(0, len(array), size)]
    split._ends = np.cumsum([len(piece) for piece in split._arrays])
    wanted = np.roll(np.arange(len(array))[::-1], shift)
    assert split.at(wanted).tolist() == array[wanted].tolist()


def test_where_it_cannot_be_written_the_remedy_is_said(tmp_path, monkeypatch):
    def refuse(*_):
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(shingle_index, "_build", refuse)
    with pytest.raises(
        DataError, match=r"\(Permission denied\); .*; make room there, and the folder writable$"
    ):
        open_index(tmp_path, split_of(tmp_path, np.arange(50)), "a" * 64, quiet)


def test_it_is_made_once_and_again_for_other_tokens(tmp_path, monkeypatch):
    split = split_of(tmp_path, np.arange(50))
    told = []
    open_index(tmp_path, split, "a" * 64, lambda *progress: told.append(progress))
    assert told[-1] == ("indexing the training tokens", 86, 86)
    monkeypatch.setattr(shingle_index, "_build", pytest.fail)
    open_index(tmp_path, split, "a" * 64, quiet)
    monkeypatch.undo()
    other = split_of(tmp_path, np.arange(50) * 2)
    assert places_by_index(open_index(tmp_path, other, "b" * 64, quiet), np.arange(8) * 2) == [0]
    assert sorted(path.name for path in tmp_path.glob("*shingles*")) == [f"shingles-{'b' * 16}.npy"]


@pytest.mark.parametrize("content", [b"", b"half", None])
def test_one_that_is_damaged_is_made_again(tmp_path, content):
    split = split_of(tmp_path, np.arange(50))
    open_index(tmp_path, split, "a" * 64, quiet)
    path = tmp_path / f"shingles-{'a' * 16}.npy"
    path.write_bytes(path.read_bytes()[:200] if content is None else content)
    assert places_by_index(open_index(tmp_path, split, "a" * 64, quiet), np.arange(8)) == [0]


@pytest.mark.parametrize("tokens", [0, 7, 8])
def test_hardly_any_tokens(tmp_path, tokens):
    index = open_index(
        tmp_path, split_of(tmp_path, *([np.arange(tokens)] if tokens else [])), "a" * 64, quiet
    )
    assert places_by_index(index, np.arange(8)) == ([0] if tokens == 8 else [])


KILLED = """
import os, sys
import numpy as np
from bittygpt.data.analysis import shingle_index
from tests.data.analysis.test_shingle_index import split_of
from pathlib import Path
shingle_index.PART = 16
folder = Path(sys.argv[1])
calls = iter(range(100))
shingle_index.open_index(folder, split_of(folder, np.arange(50)), "a" * 64,
    lambda *_: os._exit(9) if next(calls) == int(sys.argv[2]) else None)
"""


@pytest.mark.parametrize("moment", [1, 4])
def test_killed_it_leaves_nothing_half_made(tmp_path, moment):
    """While parts are written, and while they are merged."""
    command = [sys.executable, "-c", KILLED, str(tmp_path), str(moment)]
    done = subprocess.run(command, env={**os.environ, "PYTHONPATH": "."}, check=False)
    assert done.returncode == 9
    assert list(tmp_path.glob(".shingles-*"))
    assert not list(tmp_path.glob("shingles-*"))
    split = split_of(tmp_path, np.arange(50))
    assert places_by_index(open_index(tmp_path, split, "a" * 64, quiet), np.arange(8)) == [0]
    assert not list(tmp_path.glob(".shingles-*"))


def test_an_error_leaves_nothing_and_says_how_much_room_it_takes(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(shingle_index, "_merge", full)
    with pytest.raises(DataError, match=r"No space left on device.*it takes 0 MB"):
        open_index(tmp_path, split_of(tmp_path, np.arange(50)), "a" * 64, quiet)
    assert not list(tmp_path.glob("*shingles*"))
