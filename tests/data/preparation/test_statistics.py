"""What is counted of a split, in one go or piece by piece."""

from dataclasses import replace

import numpy as np
import pytest

from bittygpt.data.analysis.near_duplicates import SKETCH, Sketches
from bittygpt.data.preparation import statistics
from bittygpt.data.preparation.encoding import EncodedDocuments
from bittygpt.data.preparation.statistics import SplitStatistics


def documents(lengths, open_tokens=0, sketches=None):
    tokens = np.array([i % 7 for length in lengths for i in range(length)] + [1] * open_tokens, np.uint16)
    digests = np.arange(len(lengths), dtype=np.uint64)
    return EncodedDocuments(
        tokens,
        np.array(lengths, np.int64),
        open_tokens,
        digests,
        np.bincount(tokens, minlength=9),
        3 * len(tokens),
        sketches or Sketches.none(),
    )


def test_pieces_add_up():
    lengths = [3, 5, 1, 100, 12, 12]
    whole = SplitStatistics.start(9, 1).plus(documents(lengths))
    assert (whole.tokens, whole.num_bytes, whole.documents, whole.longest) == (133, 399, 6, 99)
    assert whole.token_counts.sum() == 133
    assert whole.length_counts.sum() == 6
    parts = (
        SplitStatistics.start(9, 1)
        .plus(documents(lengths[:2]))
        .plus(documents([]))
        .plus(documents(lengths[2:]))
    )
    for name, array in whole.to_arrays().items():
        np.testing.assert_array_equal(array, parts.to_arrays()[name])


def test_a_long_document_counts_as_one_with_all_its_stretches():
    split = SplitStatistics.start(9, 1).plus(documents([4])).plus(documents([], 50)).plus(documents([], 30))
    assert (split.documents, split.longest, split.open_tokens) == (1, 3, 80)
    split = split.plus(documents([21]))
    assert (split.documents, split.longest, split.open_tokens) == (2, 100, 0)
    assert split.lengths()["max"] == 100


def test_nothing_is_changed_by_an_addition():
    start = SplitStatistics.start(9, 1)
    start.plus(documents([3, 3]))
    assert (start.tokens, start.token_counts.sum(), start.length_counts.sum()) == (0, 0, 0)


def test_percentiles_are_those_of_the_documents():
    lengths = np.random.default_rng(0).integers(1, 300, 1000)
    found = SplitStatistics.start(9, 1).plus(documents(lengths + 1)).lengths()
    for p in (10, 50, 90, 99):
        assert found[f"p{p}"] == np.percentile(lengths, p, method="inverted_cdf")
    assert found["mean"] == pytest.approx(lengths.mean(), abs=0.05)
    assert SplitStatistics.start(9, 1).lengths() == {}


@pytest.mark.parametrize("length", [0, 1, 1023, 1024, 1025, 65_537, 438_534, 10**9, 2**39 + 1])
def test_percentiles_of_long_documents_are_near(length):
    split = SplitStatistics.start(9, 1)
    split = split.plus(
        replace(documents([1] * 5), lengths=np.array([length + 1, 1, 2**40, length + 1, 2**40]))
    )
    assert length <= split.lengths()["p50"] <= length * (1 + 1 / 512)
    only = SplitStatistics.start(9, 1).plus(replace(documents([1]), lengths=np.array([length + 1])))
    assert only.lengths()["p10"] == only.lengths()["p99"] == length


def test_too_many_sketches_make_the_sample_coarser(monkeypatch):
    monkeypatch.setattr(statistics, "MOST_DOCUMENTS", 100)
    hashes = np.random.default_rng(0).integers(0, 2**64, (1000, SKETCH), dtype=np.uint64)
    every = Sketches(hashes, np.arange(1000, dtype=np.uint64))
    split = SplitStatistics.start(9, 1)
    for start in range(0, 1000, 70):
        split = split.plus(
            documents([], sketches=Sketches(hashes[start : start + 70], every.digests[start : start + 70]))
        )
    assert len(split.sketches.digests) <= 100
    assert split.sample_one_in >= 16
    np.testing.assert_array_equal(split.sketches.digests, every.sampled(split.sample_one_in).digests)


def test_arrays_and_back():
    split = SplitStatistics.start(9, 4).plus(documents([3, 9], 2))
    again = SplitStatistics.from_arrays(split.to_arrays())
    assert again.to_arrays().keys() == split.to_arrays().keys()
    for name, array in split.to_arrays().items():
        np.testing.assert_array_equal(array, again.to_arrays()[name])
