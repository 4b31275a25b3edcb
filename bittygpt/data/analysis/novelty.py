"""How much of a generated text is copied from the training data: its longest copied run, and the share of its 8-grams.

A copied run is one of tokens that stand side by side in the training tokens, word for word; it may go over the end of
a document if the text does. Hashes choose the candidates and the tokens themselves decide, so both figures are exact.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from bittygpt.data.analysis.near_duplicates import SHINGLE, shingle_hashes
from bittygpt.data.shards import TokenSplit

BLOCK = 1 << 18  # training tokens read at once

Ids = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Novelty:
    """`longest` tokens of a text, from token `first` on, stand in the training data as they are; `seen` is the share
    of its 8-grams that do, None where it is too short to have any."""

    first: int
    longest: int
    seen: float | None


def measure_novelty(token_ids: list[int], tokens: TokenSplit) -> Novelty:
    """Compare a text with all training tokens, which are read once (up to 7 times more where no 8-gram is copied)."""
    ids = np.asarray(token_ids, np.int64)
    first = longest = 0
    is_seen = np.zeros(max(0, len(ids) - SHINGLE + 1), np.bool_)
    for start, places in _occurrences(ids, SHINGLE, tokens):
        is_seen[start] = True
        if start > 0:  # where the token before is the same, too, the run has been measured from there
            places = places[(places == 0) | (tokens.at(np.maximum(places - 1, 0)) != ids[start - 1])]
        if (length := _longest_run(ids[start:], places, tokens)) > longest:
            first, longest = start, length
    if longest == 0:
        for length in range(1, min(SHINGLE - 1, len(ids)) + 1):
            occurrence = next(_occurrences(ids, length, tokens), None)
            if occurrence is None:
                break
            first, longest = occurrence[0], length
    return Novelty(first, longest, float(is_seen.mean()) if len(is_seen) else None)


def _occurrences(ids: Ids, length: int, tokens: TokenSplit) -> Iterator[tuple[int, Ids]]:
    """Every run of `length` tokens of a text that stands in the training tokens, by its start in the text, and where.

    The training tokens are read block by block, so a run may come several times, each time with other places.
    """
    if len(ids) < length:
        return
    runs = np.lib.stride_tricks.sliding_window_view(ids, length)
    hashes = shingle_hashes(ids, length)
    is_possible = np.zeros(
        1 << 16, np.bool_
    )  # by the upper 16 bits of a hash: passes over most places at once
    is_possible[hashes >> np.uint64(48)] = True
    for block_start in range(0, tokens.num_tokens - length + 1, BLOCK):
        block = tokens.read(block_start, min(BLOCK + length - 1, tokens.num_tokens - block_start))
        block_hashes = shingle_hashes(block, length)
        candidates = np.flatnonzero(is_possible[block_hashes >> np.uint64(48)])
        found = block_hashes[candidates]
        for start in np.flatnonzero(np.isin(hashes, found)):
            places = candidates[found == hashes[start]]
            is_same = (block[places[:, None] + np.arange(length)] == runs[start]).all(axis=1)
            if is_same.any():
                yield int(start), block_start + places[is_same]


def _longest_run(ids: Ids, places: Ids, tokens: TokenSplit) -> int:
    """How many tokens, counted from the first, stand in the training tokens from one of the places on."""
    for offset, token in enumerate(ids):
        places = places[places + offset < tokens.num_tokens]
        places = places[tokens.at(places + offset) == token]
        if not len(places):
            return offset
    return len(ids)
