"""From pieces of text to tokens, with the counts for the data report: what one worker does."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from bittygpt.data.analysis.near_duplicates import Sketches, sketch_documents
from bittygpt.text.documents import ReadOptions, digest_of, documents_of, is_validation
from bittygpt.text.pieces import Piece, Position, Stretch
from bittygpt.tokenizer.tokenizer import Tokenizer

SPLITS = ("train", "val")


@dataclass(frozen=True)
class EncodedDocuments:
    """The documents of one piece that belong to one split.

    Attributes:
        tokens: the ids of all of them, every document followed by `<|endoftext|>`.
        lengths: the tokens of each document that ends here, that end included, (documents,) int64.
        open_tokens: tokens at the end of a document that does not end here.
        digests: one for each document that ends here, (documents,) uint64.
        token_counts: (V,), how often each entry of the vocabulary stands in `tokens`.
        num_bytes: of their text.
    """

    tokens: npt.NDArray[np.integer]
    lengths: npt.NDArray[np.int64]
    open_tokens: int
    digests: npt.NDArray[np.uint64]
    token_counts: npt.NDArray[np.int64]
    num_bytes: int
    sketches: Sketches


@dataclass(frozen=True)
class EncodedPiece:
    """A piece of the corpus as tokens; `splits` has those of its splits that got any."""

    end: Position
    bytes_read: int
    skipped: int
    splits: dict[str, EncodedDocuments]


@dataclass(frozen=True)
class EncodingJob:
    """Encodes pieces, one call a piece, in any process.

    `sample_one_in`: one in so many documents is sketched, to be compared with others (see `near_duplicates.py`).
    """

    tokenizer: Tokenizer
    options: ReadOptions
    val_fraction: float
    sample_one_in: int

    def __call__(self, task: tuple[Piece, int]) -> EncodedPiece:
        """Encode a piece; the number beside it is how much of the corpus is read with it."""
        piece, bytes_read = task
        if isinstance(piece, Stretch):
            return EncodedPiece(piece.end, bytes_read, 0, {piece.split: self._stretch(piece)})
        texts, skipped = documents_of(piece, self.options)
        documents: dict[str, list[tuple[str, int]]] = {}
        for text in texts:
            digest = digest_of(text)
            split = piece.split or ("val" if is_validation(digest, self.val_fraction) else "train")
            documents.setdefault(split, []).append((text, digest))
        splits = {split: self._documents(*zip(*found, strict=True)) for split, found in documents.items()}
        return EncodedPiece(piece.end, bytes_read, skipped, splits)

    def _documents(self, texts: Sequence[str], digests: Sequence[int]) -> EncodedDocuments:
        array = self.tokenizer.encode_documents(texts)
        lengths = np.diff(np.flatnonzero(array == self.tokenizer.end_of_text_id), prepend=-1)
        names = np.array(digests, dtype=np.uint64)
        num_bytes = sum(len(text.encode()) for text in texts)
        sketches = sketch_documents(array, lengths, names, self.sample_one_in)
        return EncodedDocuments(array, lengths, 0, names, self._count(array), num_bytes, sketches)

    def _count(self, tokens: npt.NDArray[np.unsignedinteger]) -> npt.NDArray[np.int64]:
        return np.bincount(tokens, minlength=self.tokenizer.vocab_size)

    def _stretch(self, stretch: Stretch) -> EncodedDocuments:
        tokens = self.tokenizer.encode_documents([stretch.text])
        tokens = tokens if stretch.is_last else tokens[:-1]
        return EncodedDocuments(
            tokens,
            np.array([len(tokens)] if stretch.is_last else [], dtype=np.int64),
            0 if stretch.is_last else len(tokens),
            np.array([stretch.digest] if stretch.is_last else [], dtype=np.uint64),
            self._count(tokens),
            len(stretch.text.encode()),
            Sketches.none(),
        )
