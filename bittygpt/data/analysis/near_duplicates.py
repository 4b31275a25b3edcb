"""Documents that are almost the same: bottom-k MinHash sketches of a sample of them.

Broder 1997, "On the resemblance and containment of documents". A document is the set of its shingles, the runs of 8
tokens in it; the share of all shingles of two documents that both have is their resemblance (Jaccard). Of each
document the smallest hashes of its shingles are kept, from which the resemblance of two can be estimated.

A document is sampled by its smallest hash. Two documents share that hash with a probability that is their
resemblance, so near duplicates are in the sample together or not at all, and the share of them in the sample is that
in the corpus. Sampling each document on its own would separate them.
"""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

SHINGLE = 8  # tokens
SKETCH = 32  # hashes
RESEMBLANCE = 0.8
MOST_DOCUMENTS = 1 << 14
_SAMPLE_BYTES = 1 << 23
_EMPTY = np.uint64(2**64 - 1)
_MOST_ORIGINALS = 16

Hashes = npt.NDArray[np.uint64]


@dataclass(frozen=True)
class Sketches:
    """Of documents: `hashes` (documents, 32), ascending and filled up with 2^64 - 1; `digests` (documents,)."""

    hashes: Hashes
    digests: Hashes

    @classmethod
    def none(cls) -> "Sketches":
        """No document."""
        return cls(np.empty((0, SKETCH), np.uint64), np.empty(0, np.uint64))

    def plus(self, others: "Sketches") -> "Sketches":
        """Both together."""
        if not len(others.digests):
            return self
        return Sketches(
            np.concatenate([self.hashes, others.hashes]), np.concatenate([self.digests, others.digests])
        )

    def sampled(self, one_in: int) -> "Sketches":
        """Those that belong to a smaller sample."""
        kept = _is_sampled(self.hashes[:, 0], one_in)
        return self if kept.all() else Sketches(self.hashes[kept], self.digests[kept])


def sample_for(num_bytes: int) -> int:
    """One in how many documents to sketch of a text of this size: a power of 2, so that samples are nested."""
    return 1 << max(0, (num_bytes // _SAMPLE_BYTES).bit_length())


def _is_sampled(smallest: Hashes, one_in: int) -> npt.NDArray[np.bool_]:
    return (smallest & np.uint64(one_in - 1)) == 0


def sketch_documents(
    tokens: npt.NDArray[np.integer], lengths: npt.NDArray[np.int64], digests: Hashes, one_in: int
) -> Sketches:
    """The sketches of those documents that belong to the sample and have at least one shingle.

    Args:
        tokens: the documents one behind the other, each with its end token.
        lengths: the tokens of each, (documents,), that end included.
        digests: (documents,), to know a document by.
    """
    is_long_enough = lengths > SHINGLE
    if not is_long_enough.any():
        return Sketches.none()
    hashes = shingle_hashes(tokens)
    firsts = np.cumsum(lengths) - lengths
    counts = np.maximum(lengths - SHINGLE, 0)  # the end token belongs to no shingle
    bounds = np.stack([firsts, firsts + counts], axis=1)[is_long_enough]
    smallest = np.minimum.reduceat(hashes, bounds.ravel())[::2]
    chosen = _is_sampled(smallest, one_in)
    rows = [_sketch(hashes[first:after]) for first, after in bounds[chosen]]
    if not rows:
        return Sketches.none()
    return Sketches(np.stack(rows), digests[is_long_enough][chosen])


def shingle_hashes(tokens: npt.NDArray[np.integer], length: int = SHINGLE) -> Hashes:
    """A hash of the `length` tokens that begin at each place, (tokens - length + 1,)."""
    num = len(tokens) - length + 1
    wide = tokens.astype(np.uint64)
    hashes = np.zeros(num, np.uint64)
    for offset in range(length):
        hashes *= np.uint64(0x9E3779B97F4A7C15)
        hashes += wide[offset : offset + num]
    hashes ^= hashes >> np.uint64(29)  # the low bits of a product know only the low bits of its factors
    hashes *= np.uint64(0xBF58476D1CE4E5B9)
    hashes ^= hashes >> np.uint64(32)
    return hashes


def _sketch(hashes: Hashes) -> Hashes:
    row = np.full(SKETCH, _EMPTY)
    distinct = np.unique(hashes)[:SKETCH]
    row[: len(distinct)] = distinct
    return row


def resemblance(a: Hashes, b: Hashes) -> float:
    """The estimated Jaccard resemblance of two documents, from their sketches."""
    union = np.union1d(a, b)[:SKETCH]
    union = union[union != _EMPTY]
    return float(np.isin(union, np.intersect1d(a, b)).sum() / len(union))


@dataclass(frozen=True)
class NearDuplicates:
    """Of `sampled` documents, how many nearly repeat another one, and how many of these are validation documents that
    nearly repeat a training document. Exact repetitions are not among them."""

    sampled: int
    repeated: int
    leaked: int


def find_near_duplicates(train: Sketches, val: Sketches) -> NearDuplicates:
    """Compare the documents of the samples that share their smallest hash, at a resemblance of 0.8 or more."""
    hashes = np.concatenate([train.hashes, val.hashes])
    digests = np.concatenate([train.digests, val.digests])
    order = np.argsort(hashes[:, 0], kind="stable")  # the training documents of a group come first
    starts = np.flatnonzero(np.diff(hashes[order, 0], prepend=_EMPTY)).tolist()
    repeated = leaked = 0
    for first, after in pairwise([*starts, len(order)]):
        originals: list[int] = []  # documents of the group that repeat none before them
        seen: set[int] = set()
        for index in order[first:after]:
            if int(digests[index]) in seen:
                continue
            seen.add(int(digests[index]))
            match = next((p for p in originals if resemblance(hashes[p], hashes[index]) >= RESEMBLANCE), None)
            if match is not None:
                repeated += 1
                leaked += int(index >= len(train.digests) > match)
            elif len(originals) < _MOST_ORIGINALS:
                originals.append(index)
    return NearDuplicates(len(order), repeated, leaked)
