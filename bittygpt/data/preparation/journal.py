"""The journal: how far an unfinished call has come, on disk, so that the next one goes on from there.

The tokens themselves are in shards that only grow. The journal holds a position between two pieces of the corpus, and
what had been counted by then; tokens written after it are cut off or skipped (see `ShardWriter`). It is one file,
replaced atomically.
"""

import json
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bittygpt.data.preparation.encoding import SPLITS, EncodedPiece
from bittygpt.data.preparation.statistics import SplitStatistics
from bittygpt.errors import DataError
from bittygpt.files import atomic_file
from bittygpt.text.pieces import Position

JOURNAL = ".unfinished.npz"
FORMAT = 1


@dataclass(frozen=True)
class EncodingProgress:
    """What has been counted up to a position between two pieces.

    Attributes:
        position: where the next piece begins.
        skipped: broken records left out so far.
    """

    position: Position
    skipped: int
    splits: dict[str, SplitStatistics]

    @classmethod
    def start(cls, vocab_size: int, sample_one_in: int) -> "EncodingProgress":
        """Nothing counted yet."""
        splits = {name: SplitStatistics.start(vocab_size, sample_one_in) for name in SPLITS}
        return cls(Position(), 0, splits)

    def plus(self, piece: EncodedPiece) -> "EncodingProgress":
        """With one more piece."""
        splits = {
            name: split.plus(piece.splits[name]) if name in piece.splits else split
            for name, split in self.splits.items()
        }
        return EncodingProgress(piece.end, self.skipped + piece.skipped, splits)


@dataclass(frozen=True)
class Journal:
    """An unfinished call's settings and sources, as in the manifest, and how far it came."""

    identity: dict[str, Any]
    progress: EncodingProgress
    shards: Mapping[str, Sequence[dict[str, Any]]]


def write_journal(folder: Path, journal: Journal) -> None:
    """Put it into the folder in place of an older one."""
    header = {
        "format": FORMAT,
        "identity": journal.identity,
        "shards": journal.shards,
        "position": asdict(journal.progress.position),
        "skipped": journal.progress.skipped,
        "splits": list(journal.progress.splits),
    }
    arrays = {"header": np.frombuffer(json.dumps(header).encode(), dtype=np.uint8)}
    for name, statistics in journal.progress.splits.items():
        arrays |= {f"{name}.{key}": array for key, array in statistics.to_arrays().items()}
    with atomic_file(folder / JOURNAL) as file:
        np.savez(file, **arrays)  # type: ignore[arg-type]


def read_journal(folder: Path) -> Journal | None:
    """The journal of an unfinished call, None where there is none.

    Raises:
        DataError: it is damaged, or another version of bittygpt wrote it.
    """
    path = folder / JOURNAL
    if not path.exists():
        return None
    try:
        with open(path, "rb") as file, np.load(file, allow_pickle=False) as arrays:
            header = json.loads(arrays["header"].tobytes())
            if header["format"] != FORMAT:
                raise ValueError(f"format {header['format']}")
            splits = {
                name: SplitStatistics.from_arrays(
                    {key.partition(".")[2]: arrays[key] for key in arrays if key.startswith(f"{name}.")}
                )
                for name in header["splits"]
            }
    except (OSError, EOFError, ValueError, KeyError, TypeError, zipfile.BadZipFile) as error:
        raise DataError(
            f"{path} is damaged or of another version ({error}); delete {folder} and run the same command again"
        ) from None
    progress = EncodingProgress(Position(**header["position"]), header["skipped"], splits)
    return Journal(header["identity"], progress, header["shards"])
