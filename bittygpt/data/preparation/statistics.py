"""What is counted of a split while it is encoded, in a few megabytes whatever its size."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from bittygpt.data.analysis.near_duplicates import MOST_DOCUMENTS, SKETCH, Sketches
from bittygpt.data.preparation.encoding import EncodedDocuments

Counts = npt.NDArray[np.int64]
PERCENTILES = (10, 50, 90, 99)
_BITS = 9  # lengths of up to 2^10 tokens are told apart, longer ones to one part in 2^9
_MOST_TOKENS = 1 << 40


def length_class(lengths: Counts) -> Counts:
    """The class of each length: the length itself where it is short, then classes as wide as 1/512 of it.

    The bits of a floating-point number: exponent e, and the 10 leading bits of the length, one after the other.
    """
    exponents = np.maximum(0, np.frexp(np.minimum(lengths, _MOST_TOKENS).astype(np.float64))[1] - 1 - _BITS)
    return (exponents.astype(np.int64) << _BITS) + (np.minimum(lengths, _MOST_TOKENS) >> exponents)


def longest_of(index: int) -> int:
    """The greatest length of a class."""
    exponent = max(0, (index >> _BITS) - 1)
    return ((index - (exponent << _BITS) + 1) << exponent) - 1


_CLASSES = int(length_class(np.array([_MOST_TOKENS]))[0]) + 1


@dataclass(frozen=True)
class SplitStatistics:
    """Counts over all documents of a split so far. Immutable: `plus` gives a new one, so that a signal at any moment
    finds the state between two pieces.

    Attributes:
        token_counts: (V,), how often each entry of the vocabulary stands in the split.
        length_counts: (16385,), documents by the class of their length (`length_class`), `<|endoftext|>` left out.
        open_tokens: tokens of the document that is only partly encoded.
        sample_one_in: how many documents stand behind each of `sketches`.
    """

    tokens: int
    num_bytes: int
    documents: int
    longest: int
    open_tokens: int
    token_counts: Counts
    length_counts: Counts
    sketches: Sketches
    sample_one_in: int

    @classmethod
    def start(cls, vocab_size: int, sample_one_in: int) -> "SplitStatistics":
        """Nothing counted yet."""
        counts, lengths = np.zeros(vocab_size, np.int64), np.zeros(_CLASSES, np.int64)
        return cls(0, 0, 0, 0, 0, counts, lengths, Sketches.none(), sample_one_in)

    def plus(self, new: EncodedDocuments) -> "SplitStatistics":
        """With the documents of one more piece."""
        lengths = new.lengths - 1
        if len(lengths):
            lengths[0] += self.open_tokens
        sketches, one_in = self.sketches.plus(new.sketches.sampled(self.sample_one_in)), self.sample_one_in
        while len(sketches.digests) > MOST_DOCUMENTS:
            one_in *= 2
            sketches = sketches.sampled(one_in)
        return SplitStatistics(
            self.tokens + len(new.tokens),
            self.num_bytes + new.num_bytes,
            self.documents + len(lengths),
            max(self.longest, int(lengths.max(initial=0))),
            new.open_tokens if len(lengths) else self.open_tokens + new.open_tokens,
            self.token_counts + new.token_counts,
            self.length_counts + np.bincount(length_class(lengths), minlength=_CLASSES),
            sketches,
            one_in,
        )

    def lengths(self) -> dict[str, float]:
        """Tokens in a document: mean, percentiles, and the longest."""
        if not self.documents:
            return {}
        below = np.cumsum(self.length_counts)
        classes = {p: int(np.searchsorted(below, p / 100 * self.documents)) for p in PERCENTILES}
        ranks = {f"p{p}": min(longest_of(index), self.longest) for p, index in classes.items()}
        mean = (self.tokens - self.documents) / self.documents
        return {"mean": round(mean, 1), **ranks, "max": self.longest}

    def to_arrays(self) -> dict[str, npt.NDArray[Any]]:
        """All of it as arrays, to be saved."""
        numbers = (
            self.tokens, self.num_bytes, self.documents, self.longest, self.open_tokens, self.sample_one_in
        )  # fmt: skip
        return {
            "numbers": np.array(numbers, np.int64),
            "token_counts": self.token_counts,
            "length_counts": self.length_counts,
            "hashes": self.sketches.hashes,
            "digests": self.sketches.digests,
        }

    @classmethod
    def from_arrays(cls, arrays: dict[str, npt.NDArray[Any]]) -> "SplitStatistics":
        """What `to_arrays` gave."""
        tokens, num_bytes, documents, longest, open_tokens, one_in = arrays["numbers"].tolist()
        sketches = Sketches(arrays["hashes"].reshape(-1, SKETCH), arrays["digests"])
        counted = arrays["token_counts"], arrays["length_counts"]
        return cls(tokens, num_bytes, documents, longest, open_tokens, *counted, sketches, one_in)
