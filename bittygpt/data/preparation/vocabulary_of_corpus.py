"""The vocabulary of a config: a given one, or one that is trained on the corpus."""

from collections import Counter
from pathlib import Path

from bittygpt.config import RunConfig
from bittygpt.data.preparation.word_counts import CountingJob
from bittygpt.data.preparation.workers import Workers
from bittygpt.errors import DataError
from bittygpt.text.corpus import Corpus
from bittygpt.text.sources import Progress
from bittygpt.tokenizer.bpe_training import train_bpe
from bittygpt.tokenizer.tokenizer import Tokenizer


def make_vocabulary(config: RunConfig, corpus: Corpus, workers: Workers, on_progress: Progress) -> Tokenizer:
    """The given vocabulary, or one trained on the text of `data.train`, all of it or `tokenizer.train_bytes`.

    Raises:
        DataError: a source is broken, or `tokenizer.train_bytes` leaves nothing of it.
    """
    settings = config.tokenizer
    special_tokens = list(settings.special_tokens)
    if settings.vocab is not None:
        return Tokenizer.load(Path(settings.vocab).expanduser(), special_tokens, settings.encoding)
    assert settings.vocab_size is not None  # the config sees to it that one of the two is given
    words: Counter[str] = Counter()
    if settings.vocab_size > 256 + len(special_tokens):  # else bytes alone: nothing to count
        words = _count_words(config, corpus, workers, on_progress)
    vocabulary = train_bpe(
        words, settings.vocab_size, special_tokens, lambda done, of: on_progress("merging pairs", done, of)
    )
    return Tokenizer(vocabulary, special_tokens, settings.encoding)


def _count_words(config: RunConfig, corpus: Corpus, workers: Workers, on_progress: Progress) -> Counter[str]:
    settings = config.tokenizer
    expected = sum(source.expected_bytes() for source in corpus.train)
    total = sum(source.size() for source in corpus.train)
    share = settings.train_bytes / max(1, expected) if settings.train_bytes else 1.0
    pieces = ((piece, corpus.bytes_read(piece)) for piece in corpus.training_pieces())
    for bytes_read in workers.map(CountingJob(settings.special_tokens, corpus.options, share), pieces):
        on_progress("counting words", bytes_read, total)
    words: Counter[str] = Counter()
    for counted in workers.collect("result"):
        words.update(counted)
    if not words and share < 1:
        raise DataError(
            f"tokenizer.train_bytes: {settings.train_bytes:,} is too little of this text; raise it"
        )
    return words


def save_vocabulary(tokenizer: Tokenizer, path: Path) -> None:
    """Write vocab.json, but not over another one: without a manifest beside it, it may be anybody's."""
    if path.exists():
        remedy = "set data.dir to another folder, or delete the file"
        try:
            is_the_same = Tokenizer.load(path).vocabulary == tokenizer.vocabulary
        except DataError as error:
            fault = str(error).rpartition("; ")[0]  # the remedy there is for a vocabulary of the user's own
            raise DataError(f"{fault}; {remedy}") from error
        if not is_the_same:
            raise DataError(f"{path} is another vocabulary; {remedy}")
    tokenizer.save(path)
