"""The tokens of a config as far as they can be known without making them: those on disk, else an estimate."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bittygpt.config import RunConfig
from bittygpt.data.batches import TrainingBatches
from bittygpt.data.preparation.prepare import settings_of
from bittygpt.data.prepared import VOCABULARY, PreparedTokens, read_manifest, require_same_inputs
from bittygpt.data.shards import TokenSplit
from bittygpt.errors import SourceMissingError
from bittygpt.text.sources import BUILTIN, Source, find_sources
from bittygpt.tokenizer.tokenizer import Tokenizer

NUM_BYTES = 256
BYTES_PER_ENTRY = 24  # of vocab.json, about
# Bytes of English text in a token, by the number of merges: of bitty's vocabularies of a few megabytes of stories,
# news and plays; and those of the builtin stories, which have few words. Between two the logarithm decides.
OF_ENGLISH = (
    (1, 1.0),
    (100, 1.6),
    (750, 2.5),
    (1750, 3.1),
    (10_000, 4.0),
    (50_000, 4.4),
    (200_000, 4.7),
)
OF_STORIES = (
    (1, 1.0),
    (13, 1.2),
    (43, 1.5),
    (143, 2.0),
    (343, 2.5),
    (743, 3.1),
    (1743, 3.85),
    (3401, 4.15),  # then every word is a token
)


@dataclass(frozen=True)
class ExpectedTokens:
    """What a run will train on.

    `train`, `val`: tokens, None where not even the size of the text is known. `windows`, `val_windows`: stretches of
    T tokens that one pass over them has. `on_disk` None: they have not been made, and the numbers are estimates; `note`
    says of what.
    """

    vocab_size: int
    vocabulary_bytes: int
    train: int | None
    val: int | None
    windows: int | None
    val_windows: int | None
    on_disk: PreparedTokens | None
    note: str

    @property
    def bytes_on_disk(self) -> int:
        """How much of the tokens a process may come to map into its memory, about."""
        return (2 if self.vocab_size <= 1 << 16 else 4) * ((self.train or 0) + (self.val or 0))


def expect_tokens(config: RunConfig) -> ExpectedTokens:
    """Read what is known of a config's tokens. Nothing is written, fetched or tokenized; large texts are not read.

    Raises:
        DataError: the tokens on disk were made with other settings, or a source is missing or of no known format.
    """
    folder = Path(config.data.dir).expanduser()
    manifest = read_manifest(folder)
    if manifest is None:
        return _estimate(config)
    require_same_inputs(folder, manifest, settings_of(config), manifest["sources"], "the tokens")
    tokens = PreparedTokens(folder, manifest)
    counts = {name: split["tokens"] for name, split in manifest["splits"].items()}
    return ExpectedTokens(
        vocab_size=tokens.tokenizer.vocab_size,
        vocabulary_bytes=(folder / VOCABULARY).stat().st_size,
        train=counts["train"],
        val=counts["val"],
        windows=_windows(config, tokens, "train", counts["train"]),
        val_windows=_windows(config, tokens, "val", counts["val"]),
        on_disk=tokens,
        note=_changed_since(config, manifest),
    )


def _changed_since(config: RunConfig, manifest: dict[str, Any]) -> str:
    """A word on a source that is not as it was by name, size and time; only reading it would tell for certain."""
    known = [(entry["name"], entry["bytes"], entry["mtime_ns"]) for entry in manifest["sources"]]
    try:
        sources = [source for name in ("train", "val") for source in _sources(config, name) or []]
    except SourceMissingError:  # tokens that were made elsewhere need no text
        return ""
    for source in sources:
        if source.path and (source.name, *source.stamp().values()) not in known:
            return f"{source.name} may have changed since it was tokenized; `train` compares it first"
    return ""


def first_shard(tokens: PreparedTokens, name: str) -> TokenSplit:
    """As many of a split's tokens as one file holds: enough to make a batch of."""
    shards = tokens.manifest["splits"][name]["shards"][:1]
    return TokenSplit(tokens.folder, shards, tokens.tokenizer.vocab_size)


def _windows(config: RunConfig, tokens: PreparedTokens, name: str, count: int) -> int:
    """Windows in a pass; where they begin with documents, those of the first shard stand for the others."""
    if count < 2:
        return 0
    if config.data.windows == "stream":
        return -(-count // config.model.context_length)
    first, end = first_shard(tokens, name), tokens.tokenizer.end_of_text_id
    batches = TrainingBatches(first, config.model.context_length, 1, 0, document_end=end)
    return round(batches.windows_per_epoch * count / first.num_tokens)


def _estimate(config: RunConfig) -> ExpectedTokens:
    tokenizer = config.tokenizer
    if tokenizer.vocab is not None:
        path = Path(tokenizer.vocab).expanduser()
        vocab_size = Tokenizer.load(path, tokenizer.special_tokens, tokenizer.encoding).vocab_size
        vocabulary_bytes = path.stat().st_size
    else:
        assert tokenizer.vocab_size is not None  # `fill_derived` has seen to it
        vocab_size, vocabulary_bytes = tokenizer.vocab_size, BYTES_PER_ENTRY * tokenizer.vocab_size
    merges = vocab_size - NUM_BYTES - len(tokenizer.special_tokens)
    train = val = None
    what = "its size is not known before it is downloaded"
    if (text := _sources(config, "train")) is not None:
        tokens = _expected_count(text, merges)
        fraction = 0.0 if config.data.val else config.data.val_fraction
        train, val = round(tokens * (1 - fraction)), round(tokens * fraction)
        num_bytes = sum(source.expected_bytes() for source in text)
        what = f"at {num_bytes / max(1.0, tokens):.1f} bytes a token"
    if config.data.val:
        val_text = _sources(config, "val")
        val = None if val_text is None else round(_expected_count(val_text, merges))
    context = config.model.context_length
    return ExpectedTokens(
        vocab_size,
        vocabulary_bytes,
        train,
        val,
        None if train is None else -(-train // context),
        None if val is None else -(-val // context),
        None,
        f"the text has not been tokenized: {what}; `bittygpt tokenize` tells exactly",
    )


def _expected_count(sources: Sequence[Source], merges: int) -> float:
    """About how many tokens a text will be, encoded with so many merges."""
    return sum(
        source.expected_bytes()
        / bytes_per_token(merges, OF_STORIES if source.name == BUILTIN else OF_ENGLISH)
        for source in sources
    )


def _sources(config: RunConfig, name: str) -> list[Source] | None:
    """The files of `data.train` or `data.val` as they lie; None where one has not been downloaded."""
    found: list[Source] = []
    for entry in config.data.train if name == "train" else config.data.val:
        if entry.startswith(("http://", "https://")):
            from bittygpt.text.download import cached_path

            if not cached_path(entry).exists():
                return None
            found.append(Source(entry, cached_path(entry)))
        else:
            found += find_sources((entry,), f"data.{name}", lambda *_: None)
    return found


def bytes_per_token(merges: int, measured: Sequence[tuple[int, float]] = OF_ENGLISH) -> float:
    """About how many bytes of text a token of a vocabulary with so many merges stands for."""
    counts, lengths = zip(*measured, strict=True)
    return float(np.interp(math.log(max(1, merges)), np.log(counts), lengths))
