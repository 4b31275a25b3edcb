"""Tokens on disk: one-dimensional .npy files of a bounded size that numpy maps into memory."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bittygpt.errors import DataError
from bittygpt.files import atomic_file, sha256_of

SHARD_TOKENS = 1 << 26  # 128 MiB of uint16


class ShardWriter:
    """Takes the tokens of one split in order and writes `SPLIT-00000.npy`, `SPLIT-00001.npy`, …, each atomically."""

    def __init__(self, folder: Path, split: str, dtype: np.dtype, shard_tokens: int = SHARD_TOKENS) -> None:
        self.folder, self.split, self.dtype, self.shard_tokens = folder, split, dtype, shard_tokens
        self.shards: list[dict[str, Any]] = []
        self._pieces: list[np.ndarray] = []
        self._held = 0

    def write(self, tokens: np.ndarray) -> None:
        """Append tokens; full shards go to disk at once."""
        while self._held + len(tokens) >= self.shard_tokens:
            room = self.shard_tokens - self._held
            self._pieces.append(tokens[:room].astype(self.dtype))
            self._flush()
            tokens = tokens[room:]
        if len(tokens):
            self._pieces.append(tokens.astype(self.dtype))
            self._held += len(tokens)

    def close(self) -> None:
        """Write what is left as a last, shorter shard."""
        if self._pieces:
            self._flush()

    def _flush(self) -> None:
        shard = np.concatenate(self._pieces)
        path = self.folder / f"{self.split}-{len(self.shards):05d}.npy"
        with atomic_file(path) as file:
            np.save(file, shard)
        self.shards.append({"file": path.name, "tokens": len(shard), "sha256": sha256_of(path)})
        self._pieces, self._held = [], 0


class TokenSplit:
    """The shards of one split as one long ring of tokens: after the last comes the first.

    Every document ends with `<|endoftext|>`, so across the seam, as everywhere, a document follows an end.

    Raises:
        DataError: a shard is missing or not as long as the manifest says.
    """

    def __init__(self, folder: Path, shards: Sequence[dict[str, Any]]) -> None:
        self._arrays = [_open_shard(folder / shard["file"], shard["tokens"]) for shard in shards]
        self._ends = np.cumsum([len(array) for array in self._arrays])
        self.num_tokens = int(self._ends[-1]) if len(self._ends) else 0

    def read(self, start: int, length: int) -> np.ndarray:
        """`length` tokens from position `start` of the ring, int64."""
        out = np.empty(length, dtype=np.int64)
        filled, position = 0, start % self.num_tokens
        while filled < length:
            shard = int(np.searchsorted(self._ends, position, side="right"))
            array = self._arrays[shard]
            offset = position - (int(self._ends[shard]) - len(array))
            piece = array[offset : offset + length - filled]
            out[filled : filled + len(piece)] = piece
            filled += len(piece)
            position = (position + len(piece)) % self.num_tokens
        return out

    def positions_of(self, token: int) -> np.ndarray:
        """Every position at which `token` stands, ascending, int64. Reads the whole split, a shard at a time."""
        firsts = self._ends - [len(array) for array in self._arrays]
        found = [
            np.flatnonzero(array == token) + first for array, first in zip(self._arrays, firsts, strict=True)
        ]
        return np.concatenate(found) if found else np.empty(0, dtype=np.int64)


def _open_shard(path: Path, tokens: int) -> np.ndarray:
    remedy = f"delete {path.parent} and run `bittygpt tokenize` again"
    try:
        array: np.ndarray = np.load(path, mmap_mode="r")
    except FileNotFoundError:
        raise DataError(f"{path} is missing; {remedy}") from None
    except (OSError, ValueError, EOFError) as error:
        raise DataError(f"{path} is damaged ({error}); {remedy}") from None
    if array.ndim != 1 or len(array) != tokens:
        raise DataError(f"{path} holds {array.size:,} tokens and should hold {tokens:,}; {remedy}")
    return array
