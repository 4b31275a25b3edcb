"""Text -> tokens on disk: the vocabulary, the shards of both splits and the manifest that says what they are."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from bittygpt.config import RunConfig
from bittygpt.data.preparation.journal import JOURNAL, Journal, read_journal, write_journal
from bittygpt.data.preparation.vocabulary_of_corpus import make_vocabulary, save_vocabulary
from bittygpt.data.preparation.workers import Workers, available_cores
from bittygpt.data.preparation.writing import CorpusWriter
from bittygpt.data.prepared import (
    MANIFEST,
    ON_BAD_RECORD,
    VOCABULARY,
    PreparedTokens,
    describe_source,
    read_manifest,
    require_same_inputs,
)
from bittygpt.errors import DataError, SourceMissingError
from bittygpt.file_lock import NAME as LOCK
from bittygpt.file_lock import file_lock
from bittygpt.files import make_folder, named, write_json
from bittygpt.text.corpus import Corpus
from bittygpt.text.documents import ReadOptions
from bittygpt.text.sources import Progress, Source, find_sources
from bittygpt.tokenizer.tokenizer import Tokenizer

BYTES_PER_WORKER = 4 << 20  # less is done before another process has started


def prepare_tokens(config: RunConfig, on_progress: Progress) -> tuple[PreparedTokens, bool]:
    """Make the tokens of a config, unless they are there already; go on where a call before stopped.

    One process makes them at a time; others wait for it, and take what it has made.

    Returns:
        The tokens, and whether they had to be made.

    Raises:
        DataError: a source is missing or broken, no text is left to train on, or `data.dir` holds the tokens of other
            sources or settings (which are never overwritten).
    """
    folder = Path(config.data.dir).expanduser()
    settings = settings_of(config)
    known = read_manifest(folder)
    if known is None:
        train, val = _sources(config, on_progress, may_download=True)
        make_folder(folder, "data.dir")
        waiting = f"waiting for another process, which is making the tokens in {folder}"
        with named(folder), file_lock(folder / LOCK, lambda: on_progress(waiting, 0, 0)):
            known = read_manifest(folder)  # by now they may have been made
            if known is None:
                return _make(config, train, val, folder, on_progress), True
    try:
        train, val = _sources(config, on_progress, may_download=False)
    except SourceMissingError:
        require_same_inputs(folder, known, settings, known["sources"], "the tokens")
        return PreparedTokens(folder, known), False  # tokens that were made elsewhere need no text
    require_same_inputs(folder, known, settings, _describe(train, val, known, on_progress), "the tokens")
    return PreparedTokens(folder, known), False


def _sources(
    config: RunConfig, on_progress: Progress, *, may_download: bool
) -> tuple[list[Source], list[Source]]:
    """Those of the training and of the validation split."""
    train = find_sources(config.data.train, "data.train", on_progress, may_download=may_download)
    return train, find_sources(config.data.val, "data.val", on_progress, may_download=may_download)


def _describe(
    train: list[Source], val: list[Source], earlier: dict[str, Any] | None, on_progress: Progress
) -> list[dict[str, Any]]:
    """The sources as they stand in the manifest, with their hashes."""
    labelled = [("train", source) for source in train] + [("val", source) for source in val]
    return [describe_source(source, split, earlier, on_progress) for split, source in labelled]


def _make(
    config: RunConfig, train: list[Source], val: list[Source], folder: Path, on_progress: Progress
) -> PreparedTokens:
    """Make the tokens, or the rest of those that an earlier call began."""
    journal = read_journal(folder)
    options = ReadOptions(config.data.separator, config.data.text_key, config.data.on_bad_record == "skip")
    val_fraction = 0.0 if val else config.data.val_fraction
    corpus = Corpus(tuple(train), tuple(val), val_fraction, options, folder)
    had_vocabulary = (folder / VOCABULARY).exists()
    number = config.data.workers
    if number is None:
        expected = sum(source.expected_bytes() for source in corpus.sources)
        number = min(available_cores(), expected // BYTES_PER_WORKER)
    with Workers(number) as workers:  # they start while the sources are hashed
        settings = settings_of(config)
        sources = _describe(train, val, journal.identity if journal else None, on_progress)
        if journal is None:
            _refuse_shards(folder)
            tokenizer = make_vocabulary(config, corpus, workers, on_progress)
            save_vocabulary(tokenizer, folder / VOCABULARY)
            identity = {"tokenizer": tokenizer.description(), "settings": settings, "sources": sources}
            journal = CorpusWriter.beginning(corpus, tokenizer, identity)
            write_journal(folder, journal)
        else:
            unfinished = journal.identity | {"skipped_records": journal.progress.skipped}
            require_same_inputs(folder, unfinished, settings, sources, "unfinished tokens")
            journal = replace(journal, identity=journal.identity | {"settings": settings, "sources": sources})
            tokenizer = PreparedTokens(folder, journal.identity).tokenizer
        try:
            manifest = _encode(config, corpus, tokenizer, folder, journal, workers, on_progress)
        except DataError:
            if not had_vocabulary and not (folder / JOURNAL).exists():
                (folder / VOCABULARY).unlink()
            raise
    return PreparedTokens(folder, manifest, tokenizer)


def _refuse_shards(folder: Path) -> None:
    """Raise DataError where there are shards without a manifest or a journal, which nothing is known of."""
    if shards := sorted(
        path for name in ("train", "val") for path in folder.glob(f"{name}-[0-9][0-9][0-9][0-9][0-9].npy")
    ):
        raise DataError(
            f"{shards[0]} is there, but nothing that says what it was made of; set data.dir to another folder, or "
            "delete the file"
        )


def _encode(
    config: RunConfig,
    corpus: Corpus,
    tokenizer: Tokenizer,
    folder: Path,
    journal: Journal,
    workers: Workers,
    on_progress: Progress,
) -> dict[str, Any]:
    """Write the shards and, last, the manifest: without it the folder counts as unfinished."""
    train = config.train
    tokens_of_the_run = (train.max_steps or 0) * train.batch_size * config.model.context_length
    with CorpusWriter(corpus, tokenizer, folder, journal) as writer:
        try:
            writer.write(workers, on_progress)
        except DataError:  # the input is at fault, and will be another one when it is mended
            if not writer.has_finished_shards():
                writer.clean_up()
            raise
        manifest = {
            "format": 1,
            **journal.identity,
            "splits": writer.splits(),
            "skipped_records": writer.progress.skipped,
            "report": writer.report(tokens_of_the_run, on_progress),
        }
        write_json(folder / MANIFEST, manifest)
        writer.clean_up()
    return manifest


def read_prepared(config: RunConfig) -> PreparedTokens:
    """The finished tokens of a config as they lie, for a rank that another one has prepared them for.

    Raises:
        DataError: they are not there.
    """
    folder = Path(config.data.dir).expanduser()
    manifest = read_manifest(folder)
    if manifest is None:
        raise DataError(f"data.dir: {folder} holds no finished tokens; all ranks must see the same folder")
    return PreparedTokens(folder, manifest)


def settings_of(config: RunConfig) -> dict[str, Any]:
    """All of the config that the tokens depend on besides the text itself."""
    data, tokenizer = config.data, config.tokenizer
    return {
        "data.val_fraction": data.val_fraction,
        "data.text_key": data.text_key,
        "data.separator": data.separator,
        ON_BAD_RECORD: data.on_bad_record,
        "tokenizer.vocab_size": tokenizer.vocab_size,
        "tokenizer.special_tokens": list(tokenizer.special_tokens),
        "tokenizer.vocab": Tokenizer.load(Path(tokenizer.vocab).expanduser()).hash()
        if tokenizer.vocab
        else None,
        "tokenizer.train_bytes": tokenizer.train_bytes,
        "tokenizer.encoding": tokenizer.encoding,
    }
