"""An index of every run of 8 tokens in a split: where it stands, found in microseconds, made in bounded memory.

One number of 64 bits stands for each place: the upper bits of the hash of the 8 tokens there, and in the lower bits
the place. Sorted, all places of a run lie side by side. Hashes choose candidates, the tokens themselves decide: no
answer rests on a hash alone.

The numbers are sorted in parts that fit into memory, and the parts are merged range by range. As no two numbers are
equal, ranges of a bounded size exist whatever the text is, also where it repeats itself for ever.
"""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt

from bittygpt.data.analysis.near_duplicates import SHINGLE, shingle_hashes
from bittygpt.data.shards import TokenSplit
from bittygpt.errors import DataError
from bittygpt.files import atomic_file

PART = 1 << 22  # numbers sorted at once: 32 MB, and about five times that in use
FIRST_PIECE = 64  # places
Progress = Callable[[str, int, int], None]
Entries = npt.NDArray[np.uint64]
Places = npt.NDArray[np.int64]
BUILDING = "indexing the training tokens"


class ShingleIndex:
    """All places of every run of 8 tokens of a split."""

    def __init__(self, tokens: TokenSplit, entries: Entries) -> None:
        """
        Args:
            entries: (places,) ascending, as `build` writes them.
        """
        self.tokens, self._entries = tokens, entries
        self._place_mask = np.uint64((1 << _place_bits(tokens.num_tokens)) - 1)

    def ranges(self, ids: npt.NDArray[np.int64]) -> tuple[Places, Places]:
        """First and end of the candidates for each run of 8 in `ids`, (runs,) each, for `places`."""
        if len(ids) < SHINGLE:
            return np.empty(0, np.int64), np.empty(0, np.int64)
        hashes = shingle_hashes(ids)
        first = np.searchsorted(self._entries, hashes & ~self._place_mask, side="left")
        end = np.searchsorted(self._entries, hashes | self._place_mask, side="right")
        return first.astype(np.int64), end.astype(np.int64)

    def places(self, run: npt.NDArray[np.int64], first: int, end: int) -> Iterator[Places]:
        """Where the 8 tokens `run` stand, ascending, from their range of candidates.

        In pieces, small ones first, for those who want to know of one place, and never so large as to fill a memory.
        """
        size = FIRST_PIECE
        while first < end:
            piece = self._entries[first : min(end, first + size)] & self._place_mask
            first, size = first + size, min(2 * size, PART // SHINGLE)
            places = piece.astype(np.int64)
            is_same = np.ones(len(places), np.bool_)
            for offset, token in enumerate(run):
                is_same &= self.tokens.at(places + offset) == token
            if is_same.any():
                yield places[is_same]


def open_index(folder: Path, tokens: TokenSplit, tokens_hash: str, on_progress: Progress) -> ShingleIndex:
    """The index in `folder` of these tokens; it is made where there is none, and those of other tokens are removed.

    A kill at any moment leaves a whole index or none.

    Raises:
        DataError: it cannot be written there.
    """
    path = folder / f"shingles-{tokens_hash[:16]}.npy"
    count = max(0, tokens.num_tokens - SHINGLE + 1)
    if not count:
        return ShingleIndex(tokens, np.empty(0, np.uint64))
    entries = _read(path, count)
    if entries is None:
        try:
            _remove_others(folder)
            _build(path, tokens, count, on_progress)
        except OSError as error:
            raise DataError(
                f"{folder}: the index of the training tokens cannot be written ({error.strerror}); it takes "
                f"{8 * count / 1e6:,.0f} MB, and as much again while it is made; make room there, and the folder "
                "writable"
            ) from error
        entries = _read(path, count)
        assert entries is not None
    return ShingleIndex(tokens, entries)


def _read(path: Path, count: int) -> Entries | None:
    if not path.exists():
        return None
    try:
        entries: Entries = np.load(path, mmap_mode="r")
    except (OSError, ValueError, EOFError):
        return None
    return entries if entries.dtype == np.uint64 and entries.shape == (count,) else None


def _remove_others(folder: Path) -> None:
    """Indices of other tokens, and what a killed process has left of one."""
    for old in folder.glob("shingles-*.npy"):
        old.unlink(missing_ok=True)
    for leftover in folder.glob(".shingles-*.npy.*-*.tmp"):
        process = leftover.name.split(".")[-2].split("-")[0]
        try:
            os.kill(int(process), 0)
        except ProcessLookupError:
            leftover.unlink(missing_ok=True)
        except (ValueError, PermissionError):
            continue


def _place_bits(num_tokens: int) -> int:
    return max(1, num_tokens.bit_length())


def _build(path: Path, tokens: TokenSplit, count: int, on_progress: Progress) -> None:
    header = {"descr": "<u8", "fortran_order": False, "shape": (count,)}
    scratch = path.with_name(f".{path.name}.{os.getpid()}-0.tmp")
    try:
        parts = _write_sorted_parts(scratch, tokens, count, on_progress)
        with atomic_file(path) as file:
            np.lib.format.write_array_header_1_0(file, header)
            written = 0
            for merged in _merge(parts):
                file.write(merged.tobytes())
                written += len(merged)
                on_progress(BUILDING, count + written, 2 * count)
    finally:
        scratch.unlink(missing_ok=True)


def _write_sorted_parts(
    scratch: Path, tokens: TokenSplit, count: int, on_progress: Progress
) -> list[Entries]:
    """Every part as a view of the scratch file."""
    place_bits = np.uint64(_place_bits(tokens.num_tokens))
    with open(scratch, "wb") as file:
        for first in range(0, count, PART):
            size = min(PART, count - first)
            hashes = shingle_hashes(tokens.read(first, size + SHINGLE - 1))
            hashes >>= place_bits
            hashes <<= place_bits
            hashes |= np.arange(first, first + size, dtype=np.uint64)
            hashes.sort()
            file.write(hashes.tobytes())
            on_progress(BUILDING, first + size, 2 * count)
    everything = np.memmap(scratch, np.uint64, "r", shape=(count,))
    return [everything[first : first + PART] for first in range(0, count, PART)]


def _merge(parts: list[Entries]) -> Iterator[Entries]:
    """All numbers of the sorted parts in order, in arrays of at most `PART`.

    Of each part every `stride`-th number is known. Between two of all these, sorted, lie at most `stride` numbers of
    each part: between those that are `len(parts)` apart, at most 2 · len(parts) · stride.
    """
    stride = max(1, PART // (2 * len(parts)))
    samples = np.sort(np.concatenate([part[::stride] for part in parts]))
    bounds = samples[len(parts) :: len(parts)]
    cuts = [np.concatenate([[0], np.searchsorted(part, bounds), [len(part)]]) for part in parts]
    for number in range(len(bounds) + 1):
        pieces = [part[cut[number] : cut[number + 1]] for part, cut in zip(parts, cuts, strict=True)]
        merged = np.concatenate(pieces)
        merged.sort()
        yield merged
