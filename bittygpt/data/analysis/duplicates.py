"""The same document twice: counted exactly, over corpora whose list of documents does not fit into memory."""

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from bittygpt.data.shards import reopen

AT_ONCE = 1 << 22  # digests in memory
_BYTES = 8

Digests = npt.NDArray[np.uint64]


class DigestFile:
    """The digests of a split's documents, in order, on disk: 8 bytes a document."""

    def __init__(self, folder: Path, split: str, documents: int) -> None:
        """
        Args:
            documents: how many of an earlier call are to stay.

        Raises:
            DataError: the file does not hold that many.
        """
        self.path = folder / f".{split}-digests.bin"
        self._file = reopen(self.path, documents * _BYTES)

    def write(self, digests: Digests) -> None:
        """Append the digests of more documents."""
        self._file.write(digests.astype("<u8").tobytes())

    def sync(self) -> None:
        """All of them are on the disk when this returns."""
        os.fsync(self._file.fileno())

    def read(self) -> Digests:
        """All of them, mapped into memory."""
        if not self.path.stat().st_size:
            return np.empty(0, dtype=np.uint64)
        return np.memmap(self.path, dtype="<u8", mode="r")

    def close(self) -> None:
        """Close the file; it stays."""
        self._file.close()


@dataclass(frozen=True)
class Duplicates:
    """Documents that repeat an earlier one of their split word for word, and validation documents that are also
    training documents."""

    train: int
    val: int
    leaked: int


def count_duplicates(train: Digests, val: Digests) -> Duplicates:
    """Compare documents by their digests: of a hundred million different ones, two agree with odds of 1 to 4,000.

    One pass for each 4 million documents, over those whose digest falls into one part of the range.
    """
    num_parts = 1 << max(0, (max(len(train), len(val)) - 1) // AT_ONCE).bit_length()
    train_copies = val_copies = leaked = 0
    for part in range(num_parts):
        train_here, val_here = (_part(digests, part, num_parts) for digests in (train, val))
        train_unique, val_unique = np.unique(train_here), np.unique(val_here)
        train_copies += len(train_here) - len(train_unique)
        val_copies += len(val_here) - len(val_unique)
        leaked += int(np.isin(val_here, train_unique).sum())
    return Duplicates(train_copies, val_copies, leaked)


def _part(digests: Digests, part: int, num_parts: int) -> Digests:
    """The digests d with floor(d / 2^64 * num_parts) == part."""
    if num_parts == 1:
        return np.asarray(digests)
    shift = np.uint64(64 - (num_parts.bit_length() - 1))
    pieces = (digests[start : start + AT_ONCE] for start in range(0, max(1, len(digests)), AT_ONCE))
    return np.concatenate([piece[piece >> shift == part] for piece in pieces])
