"""Exact duplicates: counted in one part or in many, from a file that an earlier call began."""

import numpy as np
import pytest

from bittygpt.data.analysis import duplicates
from bittygpt.data.analysis.duplicates import DigestFile, Duplicates, count_duplicates
from bittygpt.errors import DataError


@pytest.mark.parametrize("at_once", [1, 3, 7, 1000])
def test_copies_and_leaks_are_counted(monkeypatch, at_once):
    monkeypatch.setattr(duplicates, "AT_ONCE", at_once)
    rng = np.random.default_rng(0)
    pool = rng.integers(0, 2**64, 60, dtype=np.uint64)
    train, val = rng.choice(pool, 80), rng.choice(pool, 20)
    expected = Duplicates(
        80 - len(set(train.tolist())),
        20 - len(set(val.tolist())),
        sum(digest in train for digest in val),
    )
    assert count_duplicates(train, val) == expected
    assert count_duplicates(train, val[:0]).leaked == 0
    assert count_duplicates(train[:0], val[:0]) == Duplicates(0, 0, 0)


def test_the_file_goes_on_behind_the_documents_that_were_counted(tmp_path):
    first = DigestFile(tmp_path, "train", 0)
    first.write(np.array([1, 2, 2**64 - 1], np.uint64))
    first.write(np.array([9], np.uint64))
    first.close()
    again = DigestFile(tmp_path, "train", 3)
    again.write(np.array([4], np.uint64))
    again.sync()
    assert again.read().tolist() == [1, 2, 2**64 - 1, 4]
    again.close()


def test_a_file_that_lost_digests_is_named(tmp_path):
    with pytest.raises(DataError, match=r"\.train-digests\.bin is missing or cut short"):
        DigestFile(tmp_path, "train", 1)


def test_an_empty_file_has_no_digests(tmp_path):
    empty = DigestFile(tmp_path, "val", 0)
    assert len(empty.read()) == 0
    empty.close()
