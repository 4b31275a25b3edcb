"""The corpus to shards: pieces go out to the workers, tokens come back in order, and the journal says how far it is."""

import time
from pathlib import Path
from typing import Any

import numpy as np

from bittygpt.data.analysis.baselines import baselines_of
from bittygpt.data.analysis.duplicates import DigestFile, count_duplicates
from bittygpt.data.analysis.near_duplicates import sample_for
from bittygpt.data.preparation.encoding import SPLITS, EncodingJob
from bittygpt.data.preparation.journal import JOURNAL, EncodingProgress, Journal, write_journal
from bittygpt.data.preparation.report import data_report
from bittygpt.data.preparation.workers import Workers
from bittygpt.data.shards import ShardWriter, TokenSplit
from bittygpt.errors import DataError
from bittygpt.files import remove_leftovers
from bittygpt.text.corpus import Corpus
from bittygpt.text.sources import Progress
from bittygpt.tokenizer.tokenizer import Tokenizer

SAVE_EVERY = 2.0  # seconds


class CorpusWriter:
    """Writes the tokens of a corpus into a folder, from the beginning or from where the journal stands."""

    def __init__(self, corpus: Corpus, tokenizer: Tokenizer, folder: Path, journal: Journal) -> None:
        """
        Args:
            journal: of an earlier call, or of one that has done nothing yet.

        Raises:
            DataError: the folder lacks tokens that the journal counts.
        """
        self.corpus, self.tokenizer, self.folder = corpus, tokenizer, folder
        self._identity, self.progress = journal.identity, journal.progress
        dtype = np.dtype(tokenizer.token_dtype)
        self._shards = {
            name: ShardWriter(folder, name, dtype, split.tokens, journal.shards.get(name, ()))
            for name, split in self.progress.splits.items()
        }
        self._digests = {
            name: DigestFile(folder, name, split.documents) for name, split in self.progress.splits.items()
        }

    def __enter__(self) -> "CorpusWriter":
        return self

    def __exit__(self, *_: object) -> None:
        for name in SPLITS:
            self._shards[name].release()
            self._digests[name].close()

    @staticmethod
    def beginning(corpus: Corpus, tokenizer: Tokenizer, identity: dict[str, Any]) -> Journal:
        """The journal of a call that has done nothing yet."""
        one_in = sample_for(sum(source.expected_bytes() for source in corpus.sources))
        return Journal(identity, EncodingProgress.start(tokenizer.vocab_size, one_in), {})

    def write(self, workers: Workers, on_progress: Progress) -> None:
        """Encode what is left. However this ends, the next call goes on from there.

        Raises:
            DataError: a source is broken or has changed in the meantime, or there is no text to train on, or none in
                `data.val`.
        """
        stamps = [source.stamp() for source in self.corpus.sources]
        job = EncodingJob(
            self.tokenizer,
            self.corpus.options,
            self.corpus.val_fraction,
            self.progress.splits["train"].sample_one_in,
        )
        total, saved = self.corpus.total_bytes(), time.monotonic()
        pieces = self.corpus.pieces(self.progress.position)
        try:
            for encoded in workers.map(job, ((piece, self.corpus.bytes_read(piece)) for piece in pieces)):
                for name, documents in encoded.splits.items():
                    self._shards[name].write(documents.tokens)
                    self._digests[name].write(documents.digests)
                # in one move: a signal finds the state before this piece or behind it
                self.progress = self.progress.plus(encoded)
                on_progress("encoding", encoded.bytes_read, total)
                if time.monotonic() - saved > SAVE_EVERY:
                    self.save()
                    saved = time.monotonic()
            self._check_for_changes(stamps)
            if not self.progress.splits["train"].tokens:
                names = ", ".join(source.name for source in self.corpus.train)
                raise DataError(f"data.train: no text to train on in {names}; name other sources")
            if self.corpus.val and not self.progress.splits["val"].tokens:
                names = ", ".join(source.name for source in self.corpus.val)
                raise DataError(f"data.val: no text to validate on in {names}; name other sources, or none")
            for writer in self._shards.values():
                writer.close()
        except BaseException:
            self.save()
            raise

    def _check_for_changes(self, stamps: list[dict[str, int]]) -> None:
        for source, stamp in zip(self.corpus.sources, stamps, strict=True):
            if source.stamp() != stamp:
                raise DataError(
                    f"{source.name} has changed while it was read; delete {self.folder} and run the same "
                    "command again"
                )

    def save(self) -> None:
        """Bring everything up to the last whole piece to the disk, and then say so in the journal."""
        for name in SPLITS:
            self._shards[name].sync()
            self._digests[name].sync()
        shards = {name: writer.shards for name, writer in self._shards.items()}
        write_journal(self.folder, Journal(self._identity, self.progress, shards))

    def splits(self) -> dict[str, Any]:
        """The splits as they stand in the manifest."""
        return {
            name: {
                "tokens": split.tokens,
                "bytes": split.num_bytes,
                "documents": split.documents,
                "shards": self._shards[name].shards,
            }
            for name, split in self.progress.splits.items()
        }

    def report(self, tokens_of_the_run: int, on_progress: Progress) -> dict[str, Any]:
        """The data report of what was written.

        Args:
            tokens_of_the_run: that the run's config will train on; 0 where only the clock will tell.
        """
        on_progress("looking for duplicates", 0, 0)
        train, val = (self._digests[name].read() for name in SPLITS)
        duplicates = count_duplicates(train, val)
        statistics = self.progress.splits
        vocabulary, num_special = self.tokenizer.vocabulary, len(self.tokenizer.special_tokens)
        baselines = []
        if statistics["val"].tokens:
            train_tokens, val_tokens = (TokenSplit(self.folder, self._shards[name].shards) for name in SPLITS)
            texts = [b""] * num_special + vocabulary[num_special:]
            baselines = baselines_of(
                train_tokens,
                val_tokens,
                texts,
                self.tokenizer.end_of_text_id,
                lambda done: on_progress("counting n-grams", done, 5),
            )
        epochs = tokens_of_the_run / statistics["train"].tokens
        return data_report(statistics, duplicates, baselines, vocabulary, num_special, epochs)

    def clean_up(self) -> None:
        """Remove what only an unfinished call needs."""
        for digests in self._digests.values():
            digests.close()
            digests.path.unlink(missing_ok=True)
        for part in self.folder.glob(".*.npy.part"):
            part.unlink()
        remove_leftovers(self.folder)
        (self.folder / JOURNAL).unlink(missing_ok=True)

    def has_finished_shards(self) -> bool:
        """Whether an error would cost more than a few minutes."""
        return any(writer.shards for writer in self._shards.values())
