"""How much of a generated text is copied from the training data: its longest copied run, and the share of its 8-grams.

A copied run is one of tokens that stand side by side in the training tokens, word for word; it may go over the end of
a document if the text does. Both figures are exact.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from bittygpt.data.analysis.near_duplicates import SHINGLE, shingle_hashes
from bittygpt.data.analysis.shingle_index import ShingleIndex
from bittygpt.data.shards import TokenSplit

BLOCK = 1 << 20  # tokens looked through at once

Ids = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Novelty:
    """Of a text: `longest` tokens from token `first` on stand in the training data as they are; `seen` is the share of
    its 8-grams that do, None where it is too short to have any."""

    first: int
    longest: int
    seen: float | None


def measure_novelty(token_ids: list[int], index: ShingleIndex) -> Novelty:
    """Compare a text with all training tokens.

    The 8-gram with the fewest places is looked at first: the longest copied run that holds it is found by going on from
    each place to both sides. What does not hold it lies before its last token or behind its first one, and is searched
    in turn, unless it is too short to hold a longer run than the one known.
    """
    ids = np.asarray(token_ids, np.int64)
    first, end = index.ranges(ids)
    is_seen = np.zeros(len(first), np.bool_)
    best = (0, 0)  # length, first token
    for at in np.argsort(end - first):
        is_seen[at] = any(True for _ in index.places(ids[at : at + SHINGLE], first[at], end[at]))
    counts = np.where(is_seen, end - first, 0)
    todo = [(0, len(counts))]
    while todo:
        start, stop = todo.pop()
        if start == stop or stop - start + SHINGLE - 1 <= best[0]:
            continue
        at = start + int(np.argmin(counts[start:stop]))
        if counts[at]:
            best = max(best, _longest_through(ids, at, index, first[at], end[at]), key=lambda run: run[0])
        todo += [(start, at), (at + 1, stop)]
    if best[0] == 0:
        best = _longest_short_run(ids, index.tokens)
    return Novelty(best[1], best[0], float(is_seen.mean()) if len(is_seen) else None)


def _longest_through(ids: Ids, at: int, index: ShingleIndex, first: int, end: int) -> tuple[int, int]:
    """The longest copied run that holds the 8-gram at `at`: its length and its first token."""
    best = (0, 0)
    for places in index.places(ids[at : at + SHINGLE], first, end):
        before = _same_tokens(ids[:at][::-1], places - 1, -1, index.tokens)
        behind = _same_tokens(ids[at + SHINGLE :], places + SHINGLE, 1, index.tokens)
        longest = int(np.argmax(before + behind))
        length = int(before[longest] + behind[longest]) + SHINGLE
        best = max(best, (length, at - int(before[longest])), key=lambda run: run[0])
    return best


def _same_tokens(ids: Ids, places: Ids, direction: int, tokens: TokenSplit) -> Ids:
    """From each place on, in a direction: how many tokens are as in `ids`, (places,)."""
    same = np.zeros(len(places), np.int64)
    alive = np.arange(len(places))
    for offset, token in enumerate(ids):
        now = places[alive] + direction * offset
        alive = alive[(now >= 0) & (now < tokens.num_tokens)]
        alive = alive[tokens.at(places[alive] + direction * offset) == token]
        if not len(alive):
            break
        same[alive] += 1
    return same


def _longest_short_run(ids: Ids, tokens: TokenSplit) -> tuple[int, int]:
    """The longest copied run of a text no 8-gram of which is copied, by going through all tokens."""
    best = (0, 0)
    for length in range(1, min(SHINGLE, len(ids) + 1)):
        wanted = np.lib.stride_tricks.sliding_window_view(ids, length)
        found = _first_that_occurs(wanted, tokens)
        if found is None:
            break
        best = (length, found)
    return best


def _first_that_occurs(runs: Ids, tokens: TokenSplit) -> int | None:
    """The number of a row of `runs`, (runs, length), that stands somewhere in the tokens; None: none does."""
    length = runs.shape[1]
    hashes = shingle_hashes(runs.ravel(), length)[::length]
    may_be = np.zeros(
        1 << 16, np.bool_
    )  # by the upper 16 bits of a hash: most of a block is passed over at once
    may_be[hashes >> np.uint64(48)] = True
    for first in range(0, tokens.num_tokens - length + 1, BLOCK):
        block = tokens.read(first, min(BLOCK + length - 1, tokens.num_tokens - first))
        of_block = shingle_hashes(block, length)
        candidates = np.flatnonzero(may_be[of_block >> np.uint64(48)])
        for at in candidates[np.isin(of_block[candidates], hashes)]:
            same = np.flatnonzero((runs == block[at : at + length]).all(axis=1))
            if len(same):
                return int(same[0])
    return None
