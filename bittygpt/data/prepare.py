"""Text -> tokens on disk: the vocabulary, the shards of both splits and the manifest that says what they are."""

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bittygpt.data.bpe_training import count_words, train_bpe
from bittygpt.data.corpus import (
    ReadOptions,
    Source,
    find_sources,
    read_documents,
    sample_bytes,
    split_off_validation,
)
from bittygpt.data.prepared import (
    MANIFEST,
    VOCABULARY,
    PreparedTokens,
    describe_source,
    read_manifest,
    refuse_others,
)
from bittygpt.data.shards import ShardWriter
from bittygpt.data.tokenizer import Tokenizer
from bittygpt.errors import DataError, SourceMissingError
from bittygpt.files import make_folder, write_json

if TYPE_CHECKING:
    from bittygpt.config import RunConfig

CHARACTERS_AT_ONCE = 1 << 22
LEFTOVER = re.compile(r"(train|val)-\d{5}\.npy|\.(train|val)-\d{5}\.npy\.\d+\.tmp")
Progress = Callable[[str, int, int], None]
"""Called with what is being done, how far (bytes or merges), and of how much (0: not known)."""


def prepare_tokens(config: "RunConfig", on_progress: Progress) -> tuple[PreparedTokens, bool]:
    """Make the tokens of a config, unless they are there already.

    Returns:
        The tokens, and whether they had to be made.

    Raises:
        DataError: a source is missing or broken, no text is left to train on, or `data.dir` holds the tokens of other
            sources or settings (which are never overwritten).
    """
    folder = Path(config.data.dir).expanduser()
    settings = _settings(config)
    known = read_manifest(folder)
    try:
        train = find_sources(config.data.train, "data.train", on_progress, may_download=known is None)
        val = find_sources(config.data.val, "data.val", on_progress, may_download=known is None)
    except SourceMissingError:
        if known is None:
            raise
        refuse_others(folder, known, settings, known["sources"])
        return PreparedTokens(folder, known), False  # tokens that were made elsewhere need no text
    sources = [describe_source(source, "train", known, on_progress) for source in train]
    sources += [describe_source(source, "val", known, on_progress) for source in val]
    if known is not None:
        refuse_others(folder, known, settings, sources)
        return PreparedTokens(folder, known), False

    make_folder(folder, "data.dir")
    options = ReadOptions(config.data.separator, config.data.text_key, config.data.on_bad_record == "skip")
    tokenizer = _vocabulary(config, train, options, on_progress)
    _save_vocabulary(tokenizer, folder / VOCABULARY)
    splits = _write_splits(config, folder, tokenizer, train, val, options, on_progress)
    if not splits["train"]["tokens"]:
        raise DataError(f"data.train: no text to train on in {', '.join(s.name for s in train)}")
    manifest = {
        "format": 1,
        "tokenizer": {
            "hash": tokenizer.hash(),
            "encoding": tokenizer.encoding,
            "vocab_size": tokenizer.vocab_size,
            "special_tokens": tokenizer.special_tokens,
        },
        "settings": settings,
        "sources": sources,
        "splits": splits,
    }
    write_json(folder / MANIFEST, manifest)  # last: without it the folder counts as unfinished
    return PreparedTokens(folder, manifest), True


def read_prepared(config: "RunConfig") -> PreparedTokens:
    """The finished tokens of a config as they lie, for a rank that another one has prepared them for.

    Raises:
        DataError: they are not there.
    """
    folder = Path(config.data.dir).expanduser()
    manifest = read_manifest(folder)
    if manifest is None:
        raise DataError(f"data.dir: {folder} holds no finished tokens; all ranks must see the same folder")
    return PreparedTokens(folder, manifest)


def _save_vocabulary(tokenizer: Tokenizer, path: Path) -> None:
    """Write vocab.json, but not over another one: without a manifest beside it, it may be anybody's."""
    if path.exists() and Tokenizer.load(path).vocabulary != tokenizer.vocabulary:
        raise DataError(f"{path} is another vocabulary; set data.dir to another folder, or delete the file")
    tokenizer.save(path)


def _settings(config: "RunConfig") -> dict[str, Any]:
    """All of the config that the tokens depend on besides the text itself."""
    data, tokenizer = config.data, config.tokenizer
    return {
        "data.val_fraction": data.val_fraction,
        "data.text_key": data.text_key,
        "data.separator": data.separator,
        "data.on_bad_record": data.on_bad_record,
        "tokenizer.vocab_size": tokenizer.vocab_size,
        "tokenizer.special_tokens": list(tokenizer.special_tokens),
        "tokenizer.vocab": Tokenizer.load(Path(tokenizer.vocab).expanduser()).hash()
        if tokenizer.vocab
        else None,
        "tokenizer.train_bytes": tokenizer.train_bytes,
        "tokenizer.encoding": tokenizer.encoding,
    }


def _vocabulary(
    config: "RunConfig", train: list[Source], options: ReadOptions, on_progress: Progress
) -> Tokenizer:
    """The given vocabulary, or one trained on the text of `data.train`, all of it or `tokenizer.train_bytes`."""
    settings = config.tokenizer
    if settings.vocab or settings.vocab_size is None:
        assert settings.vocab is not None  # the config sees to it that one of the two is given
        return Tokenizer.load(
            Path(settings.vocab).expanduser(), list(settings.special_tokens), settings.encoding
        )
    total = sum(source.expected_bytes() for source in train)
    documents = _counting_bytes(read_documents(train, options), "counting words", total, on_progress)
    if settings.train_bytes is not None and total > settings.train_bytes:
        documents = sample_bytes(documents, total, settings.train_bytes)
    if settings.vocab_size == 256 + len(settings.special_tokens):
        documents = iter(())  # bytes alone: nothing to count
    counts = count_words(documents, settings.special_tokens)
    vocabulary = train_bpe(
        counts,
        settings.vocab_size,
        settings.special_tokens,
        lambda done, of: on_progress("merging pairs", done, of),
    )
    return Tokenizer(vocabulary, list(settings.special_tokens), settings.encoding)


def _counting_bytes(documents: Iterator[str], what: str, total: int, on_progress: Progress) -> Iterator[str]:
    done = reported = 0
    for document in documents:
        done += len(document)
        if done - reported > 1 << 18:
            on_progress(what, done, total)
            reported = done
        yield document


def _write_splits(
    config: "RunConfig",
    folder: Path,
    tokenizer: Tokenizer,
    train: list[Source],
    val: list[Source],
    options: ReadOptions,
    on_progress: Progress,
) -> dict[str, Any]:
    """Encode every document, followed by `<|endoftext|>`, into the shards of its split."""
    for leftover in folder.iterdir():
        if LEFTOVER.fullmatch(leftover.name):
            leftover.unlink()  # of a call that was killed before its manifest
    dtype = np.dtype(tokenizer.token_dtype)
    writers = {name: ShardWriter(folder, name, dtype) for name in ("train", "val")}
    totals = {name: {"tokens": 0, "bytes": 0, "documents": 0} for name in writers}
    labelled = split_off_validation(read_documents(train, options), 0.0 if val else config.data.val_fraction)
    labelled = _join(labelled, (("val", document) for document in read_documents(val, options)))
    size = sum(source.expected_bytes() for source in [*train, *val])
    done = 0
    for block in _blocks(labelled):
        encoded = tokenizer.encode_documents(document for _, document in block)
        for (name, document), ids in zip(block, encoded, strict=True):
            num_bytes = len(document.encode("utf-8", "replace"))
            writers[name].write(np.append(ids, tokenizer.end_of_text_id))
            for key, value in (("tokens", len(ids) + 1), ("bytes", num_bytes), ("documents", 1)):
                totals[name][key] += value
            done += num_bytes
        on_progress("encoding", done, size)
    for writer in writers.values():
        writer.close()
    return {name: totals[name] | {"shards": writer.shards} for name, writer in writers.items()}


def _blocks(labelled: Iterator[tuple[str, str]]) -> Iterator[list[tuple[str, str]]]:
    """Documents in lists of some megabytes, however long or short each is."""
    block: list[tuple[str, str]] = []
    size = 0
    for pair in labelled:
        block.append(pair)
        size += len(pair[1])
        if size >= CHARACTERS_AT_ONCE:
            yield block
            block, size = [], 0
    if block:
        yield block


def _join(first: Iterator[tuple[str, str]], second: Iterator[tuple[str, str]]) -> Iterator[tuple[str, str]]:
    yield from first
    yield from second
