"""MinHash sketches against the resemblance that they estimate, and the sample against all documents."""

import numpy as np
import pytest

from bittygpt.data.analysis.near_duplicates import (
    SHINGLE,
    Sketches,
    find_near_duplicates,
    resemblance,
    sample_for,
    sketch_documents,
)

RNG = np.random.default_rng(0)


def sketches(documents, one_in=1):
    tokens = np.concatenate([np.append(document, 0) for document in documents]).astype(np.uint16)
    lengths = np.array([len(document) + 1 for document in documents])
    return sketch_documents(
        tokens, lengths, np.arange(len(documents), dtype=np.uint64) + np.uint64(1000), one_in
    )


def true_resemblance(a, b):
    shingles = [{tuple(d[i : i + SHINGLE]) for i in range(len(d) - SHINGLE + 1)} for d in (a, b)]
    return len(shingles[0] & shingles[1]) / len(shingles[0] | shingles[1])


def edited(document, places):
    copy = document.copy()
    copy[places] = 9999
    return copy


@pytest.mark.parametrize("places", [[], [5], [5, 400], list(range(0, 900, 60)), list(range(0, 900, 10))])
def test_the_estimate_is_near_the_truth(places):
    a = RNG.integers(1, 5000, 900)
    b = edited(a, places)
    ours = sketches([a, b]).hashes
    assert resemblance(*ours) == pytest.approx(true_resemblance(a, b), abs=0.25)
    assert (resemblance(*ours) == 1) == (not places)


def test_short_documents_are_compared_exactly():
    a = RNG.integers(1, 5000, 20)
    b = edited(a, [19])
    assert resemblance(*sketches([a, b]).hashes) == true_resemblance(a, b) == 12 / 14


def test_documents_without_a_shingle_have_no_sketch():
    assert len(sketches([RNG.integers(1, 9, 7), RNG.integers(1, 9, 8)]).digests) == 1
    assert len(sketches([RNG.integers(1, 9, 3)]).digests) == 0


def test_no_shingle_reaches_into_the_next_document():
    a, b = RNG.integers(1, 5000, 50), RNG.integers(1, 5000, 60)
    np.testing.assert_array_equal(sketches([a, b]).hashes[1], sketches([b]).hashes[0])
    np.testing.assert_array_equal(sketches([a, b]).hashes[0], sketches([a]).hashes[0])


def test_twins_are_sampled_together_and_samples_are_nested():
    originals = [RNG.integers(1, 5000, 200) for _ in range(1000)]
    twins = [edited(document, [199]) for document in originals]
    every, some = sketches(originals + twins), sketches(originals + twins, one_in=8)
    assert 150 < len(some.digests) < 350
    np.testing.assert_array_equal(every.sampled(8).digests, some.digests)
    chosen = set((some.digests - np.uint64(1000)).tolist())
    together = sum(index in chosen and index + 1000 in chosen for index in range(1000))
    assert together > 0.8 * sum(index in chosen for index in range(1000))


def test_twins_are_counted_and_exact_copies_are_not():
    documents = [RNG.integers(1, 5000, 200) for _ in range(50)]
    train = sketches([*documents, *(edited(document, [199]) for document in documents[:20])])
    copies = Sketches(train.hashes[:10], train.digests[:10])
    val = sketches([edited(document, [0]) for document in documents[30:35]]).plus(copies)
    found = find_near_duplicates(train, val)
    assert found.sampled == 85
    assert 15 <= found.repeated - found.leaked <= 20
    assert 3 <= found.leaked <= 5
    nothing = find_near_duplicates(Sketches.none(), Sketches.none())
    assert (nothing.sampled, nothing.repeated, nothing.leaked) == (0, 0, 0)


def test_samples_get_coarser_with_the_text():
    assert [sample_for(size) for size in (0, 1 << 22, 1 << 23, 1 << 30)] == [1, 1, 2, 256]
