"""Tokens -> batches, as a pure function of seed and step: nothing to save, nothing to fast-forward after a resume.

The tokens of a split form a ring. In every epoch the ring is cut into windows of at most T tokens (see `windows.py`),
from a starting point of that epoch's own where the cut is free; together they cover every token as a target exactly
once (`DocumentWindows` says which it leaves out), and they come in an order of that epoch's own. Window number n of
the whole run is thus found directly, whatever came before it.

Shapes: B batch, T context length.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from bittygpt.core.cross_entropy import IGNORE_INDEX
from bittygpt.data.shards import TokenSplit
from bittygpt.data.windows import DocumentWindows, StreamWindows


@dataclass(frozen=True)
class Batch:
    """ids (B, T) int64, targets (B, T) int64: the next token of each, or IGNORE_INDEX where there is none."""

    ids: Tensor
    targets: Tensor

    def rows(self, start: int, stop: int) -> "Batch":
        """Sequences start..stop-1."""
        return Batch(self.ids[start:stop], self.targets[start:stop])

    def num_valid(self) -> int:
        """How many targets count."""
        # NumPy, as PyTorch would wake all its threads for it: 1 ms of every step of a small model on a GPU
        return int(np.count_nonzero(self.targets.numpy() != IGNORE_INDEX))

    def hash(self) -> str:
        """16 hexadecimal digits that two equal batches share, for `metrics.jsonl`."""
        digest = hashlib.blake2b(self.ids.numpy().tobytes(), digest_size=8)
        digest.update(self.targets.numpy().tobytes())
        return digest.hexdigest()


def _hash64(*parts: object) -> int:
    """64 well-mixed bits of the parts, the same on every machine."""
    return int.from_bytes(hashlib.blake2b(repr(parts).encode(), digest_size=8).digest(), "little")


def shuffled(index: np.ndarray, size: int, key: int) -> np.ndarray:
    """Where a random permutation of 0..size-1, chosen by `key`, takes each index; no table of the permutation is held.

    A Feistel network of four rounds (Luby & Rackoff 1988) permutes the numbers of an even count of bits; what falls
    outside of 0..size-1 is put through again until it falls inside.
    """
    half_bits = np.uint64(max(1, ((size - 1).bit_length() + 1) // 2))
    mask = np.uint64((1 << int(half_bits)) - 1)
    out = index.astype(np.uint64)
    pending = np.ones(len(out), dtype=bool)
    while pending.any():
        left, right = out[pending] >> half_bits, out[pending] & mask
        for round_number in range(4):
            mixed = _splitmix64(right + np.uint64(_hash64(key, round_number) >> 1))
            left, right = right, left ^ (mixed & mask)
        out[pending] = (left << half_bits) | right
        pending = out >= size
    return out.astype(np.int64)


def _splitmix64(x: np.ndarray) -> np.ndarray:
    """The finaliser of SplitMix64 (Steele et al. 2014): every input bit reaches every output bit."""
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


class TrainingBatches:
    """The batches of a training run.

    Args:
        ignore_tokens: ids that are read but are no targets.
        document_end: id of `<|endoftext|>` where windows are to begin with documents; None: cut anywhere.
    """

    def __init__(
        self,
        tokens: TokenSplit,
        context_length: int,
        batch_size: int,
        seed: int,
        ignore_tokens: tuple[int, ...] = (),
        document_end: int | None = None,
    ) -> None:
        self.tokens, self.context_length, self.batch_size = tokens, context_length, batch_size
        self.seed, self.ignore_tokens = seed, ignore_tokens
        self.windows = _windows(tokens, tokens.num_tokens, context_length, document_end)
        self.windows_per_epoch = self.windows.count

    def epoch(self, step: int) -> float:
        """Passes over the data that are behind the run after `step` steps."""
        return step * self.batch_size / self.windows_per_epoch

    def batch(self, step: int) -> Batch:
        """The whole batch of a step, counted from 1, over all ranks."""
        numbers = np.arange((step - 1) * self.batch_size, step * self.batch_size)
        epochs, windows = numbers // self.windows_per_epoch, numbers % self.windows_per_epoch
        rows = np.empty((self.batch_size, self.context_length + 1), dtype=np.int64)
        valid = np.empty(self.batch_size, dtype=np.int64)
        for epoch in np.unique(epochs):
            here = epochs == epoch
            order = shuffled(windows[here], self.windows_per_epoch, _hash64(self.seed, "order", int(epoch)))
            phase = _hash64(self.seed, "phase", int(epoch)) % self.tokens.num_tokens
            starts, valid[here] = self.windows.spans(order, phase)
            for row, start in zip(np.flatnonzero(here), starts, strict=True):
                rows[row] = self.tokens.read(int(start), self.context_length + 1)
        self.tokens.check(rows)
        return _batch(rows, valid, self.ignore_tokens)


def evaluation_batches(
    tokens: TokenSplit,
    context_length: int,
    batch_size: int,
    max_tokens: int | None,
    ignore_tokens: tuple[int, ...] = (),
    document_end: int | None = None,
) -> Iterator[Batch]:
    """Fixed windows over a split, in order, without overlap: every token is a target once.

    Where windows are cut anywhere, the split's first token is none, for nothing stands before it. With `max_tokens`,
    so many windows as hold about that number, spread evenly over the split.
    """
    num_targets = tokens.num_tokens - 1
    windows = _windows(tokens, num_targets, context_length, document_end)
    chosen = np.arange(windows.count)
    if max_tokens is not None and max_tokens < num_targets:
        count = max(1, round(max_tokens / num_targets * windows.count))
        chosen = np.unique(np.linspace(0, windows.count - 1, count).round().astype(np.int64))
    for first in range(0, len(chosen), batch_size):
        starts, valid = windows.spans(chosen[first : first + batch_size], None)
        rows = np.stack([tokens.read(int(start), context_length + 1) for start in starts])
        tokens.check(rows)
        yield _batch(rows, valid, ignore_tokens)


def _windows(
    tokens: TokenSplit, num_targets: int, context_length: int, document_end: int | None
) -> StreamWindows | DocumentWindows:
    if document_end is None:
        return StreamWindows(num_targets, context_length)
    return DocumentWindows(tokens.positions_of(document_end), context_length)


def _batch(rows: np.ndarray, valid: np.ndarray, ignore_tokens: tuple[int, ...]) -> Batch:
    """Rows of T + 1 tokens, of which the first `valid` are followed by a target -> ids and shifted targets."""
    ids, targets = rows[:, :-1].copy(), rows[:, 1:].copy()
    targets[np.arange(targets.shape[1]) >= valid[:, None]] = IGNORE_INDEX
    for token in ignore_tokens:
        targets[targets == token] = IGNORE_INDEX
    return Batch(torch.from_numpy(ids), torch.from_numpy(targets))
