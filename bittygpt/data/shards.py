"""Tokens on disk: one-dimensional .npy files of a bounded size that numpy maps into memory."""

import io
import os
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np

from bittygpt.errors import DataError
from bittygpt.files import sha256_of, sync_folder

SHARD_TOKENS = 1 << 26  # 128 MiB of uint16
HEADER_BYTES = 128


class ShardWriter:
    """Takes the tokens of one split in order and writes `SPLIT-00000.npy`, `SPLIT-00001.npy`, …

    A shard grows under another name (`.SPLIT-00000.npy.part`) and is renamed once it is full and on the disk. The
    shards of an interrupted call are kept: the writer appends to them, and skips tokens that they hold already.
    """

    def __init__(
        self,
        folder: Path,
        split: str,
        dtype: np.dtype,
        tokens: int = 0,
        known: Sequence[dict[str, Any]] = (),
    ) -> None:
        """
        Args:
            tokens: how many tokens of the split come before the first one that `write` will be given.
            known: the finished shards as an earlier call described them.

        Raises:
            DataError: some of those tokens are missing, and there is nothing to go on from.
        """
        self.folder, self.split, self.dtype = folder, split, dtype
        self.shards = _existing_shards(folder, split, known)
        finished = sum(shard["tokens"] for shard in self.shards)
        self._in_part = max(0, tokens - finished)
        self._to_skip = max(0, finished - tokens)
        self._part = self._open_part(self._in_part)

    def _part_path(self) -> Path:
        return self.folder / f".{self.split}-{len(self.shards):05d}.npy.part"

    def _open_part(self, tokens: int) -> IO[bytes]:
        file = reopen(self._part_path(), HEADER_BYTES + tokens * self.dtype.itemsize if tokens else 0)
        _write_header(file, self.dtype, SHARD_TOKENS)
        file.seek(0, os.SEEK_END)
        return file

    def write(self, tokens: np.ndarray) -> None:
        """Append tokens; a full shard is finished."""
        skipped = min(self._to_skip, len(tokens))
        self._to_skip -= skipped
        tokens = tokens[skipped:].astype(self.dtype, copy=False)
        while len(tokens):
            room = SHARD_TOKENS - self._in_part
            _write_all(self._part, tokens[:room])
            self._in_part += min(room, len(tokens))
            tokens = tokens[room:]
            if self._in_part == SHARD_TOKENS:
                self._finish()

    def _finish(self) -> None:
        """Give the part its own name, once it is safe on the disk, and begin another."""
        path = self.folder / f"{self.split}-{len(self.shards):05d}.npy"
        os.fsync(self._part.fileno())
        self._part.close()
        sha256 = sha256_of(self._part_path())
        os.replace(self._part_path(), path)
        sync_folder(self.folder)
        self.shards = [*self.shards, {"file": path.name, "tokens": self._in_part, "sha256": sha256}]
        self._in_part = 0
        self._part = self._open_part(0)

    def sync(self) -> None:
        """Everything written so far is on the disk when this returns."""
        if not self._part.closed:
            os.fsync(self._part.fileno())

    def close(self) -> None:
        """Finish what is left as a last, shorter shard."""
        if self._in_part:
            _write_header(self._part, self.dtype, self._in_part)
            self._finish()
        self.release()
        self._part_path().unlink()

    def release(self) -> None:
        """Close the unfinished shard as it is; another writer can go on with it."""
        self._part.close()


def reopen(path: Path, length: int) -> IO[bytes]:
    """A file of an unfinished call, cut off behind `length` bytes, to be written on; 0: a new one.

    Raises:
        DataError: the file does not hold that many.
    """
    if length and (not path.exists() or path.stat().st_size < length):
        raise DataError(
            f"{path} is missing or cut short, and the tokens cannot go on; delete {path.parent} and run the same "
            "command again"
        )
    file = open(path, "r+b" if length else "w+b", buffering=0)
    file.truncate(length)
    file.seek(length)
    return file


def _write_header(file: IO[bytes], dtype: np.dtype, tokens: int) -> None:
    """The beginning of a .npy file; always of the same length, so that it can be written anew."""
    header = io.BytesIO()
    description = {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": (tokens,)}
    np.lib.format.write_array_header_1_0(header, description)
    assert len(header.getvalue()) == HEADER_BYTES
    file.seek(0)
    file.write(header.getvalue())


def _write_all(file: IO[bytes], tokens: np.ndarray) -> None:
    view = memoryview(tokens.tobytes())
    while len(view):
        view = view[file.write(view) :]


def _existing_shards(folder: Path, split: str, known: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The shards that lie there under their own names: each is whole."""
    hashes = {shard["file"]: shard["sha256"] for shard in known}
    shards: list[dict[str, Any]] = []
    while (path := folder / f"{split}-{len(shards):05d}.npy").exists():
        tokens = len(np.load(path, mmap_mode="r"))
        sha256 = hashes.get(path.name) or sha256_of(path)
        shards.append({"file": path.name, "tokens": tokens, "sha256": sha256})
    return shards


class TokenSplit:
    """The shards of one split as one long ring of tokens: after the last comes the first.

    Every document ends with `<|endoftext|>`, so across the seam, as everywhere, a document follows an end.

    Args:
        vocab_size: what `check` holds the ids against; None: nothing.

    Raises:
        DataError: a shard is missing or not as long as the manifest says.
    """

    def __init__(self, folder: Path, shards: Sequence[dict[str, Any]], vocab_size: int | None = None) -> None:
        self._folder, self._vocab_size = folder, vocab_size
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

    def check(self, tokens: np.ndarray) -> None:
        """Raise DataError where tokens that were read here are beyond the vocabulary: the model has no row for them."""
        if self._vocab_size is not None and tokens.max() >= self._vocab_size:
            raise DataError(
                f"{self._folder}: the tokens are damaged: they hold the id {tokens.max()}, and the vocabulary ends at "
                f"{self._vocab_size - 1}; delete {self._folder} and run the same command again"
            )

    def at(self, positions: np.ndarray) -> np.ndarray:
        """The tokens at `positions` (each from 0 to num_tokens - 1, in any order), int64."""
        out = np.empty(len(positions), dtype=np.int64)
        shards = np.searchsorted(self._ends, positions, side="right")
        for shard in np.unique(shards):
            here, array = shards == shard, self._arrays[shard]
            out[here] = array[positions[here] - (int(self._ends[shard]) - len(array))]
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
