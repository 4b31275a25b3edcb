"""How often each pre-token ("word") occurs in the text that a vocabulary learns from."""

import hashlib
from collections import Counter
from collections.abc import Iterator, Sequence

import regex

from bittygpt.text.documents import ReadOptions, documents_of
from bittygpt.text.pieces import Block, Piece
from bittygpt.tokenizer.pretokenization import WORD, chunks, safe_cut, well_formed

_MOST_CHUNKS = 1 << 18  # different ones held at a time
_SAMPLE_CHARACTERS = 1 << 16


class WordCounter:
    """Counts the words of one text after another. The text of a special token divides a text and is counted nowhere.

    Most chunks of a text (a word with the white space in front of it and the marks behind it) occur again and
    again: the pattern that finds the words, which is slow, sees each but once.
    """

    def __init__(self, special_tokens: Sequence[str]) -> None:
        self._special_tokens = list(special_tokens)
        self._special_token = regex.compile("|".join(map(regex.escape, special_tokens)))
        self._chunks: Counter[str] = Counter()
        self._words: Counter[str] = Counter()

    def add(self, text: str) -> None:
        """Count the words of a text."""
        text = well_formed(text)
        has_special_token = any(token in text for token in self._special_tokens)
        for segment in self._special_token.split(text) if has_special_token else [text]:
            self._chunks.update(chunks(segment))
            if len(self._chunks) > _MOST_CHUNKS:
                self._find_words()

    def _find_words(self) -> None:
        words = self._words
        for chunk, count in self._chunks.items():
            if chunk.isalpha() or (chunk[0] == " " and chunk[1:].isalpha()):  # a word as it is: most are
                words[chunk] += count
            else:
                for word in WORD.findall(chunk):
                    words[word] += count
        self._chunks.clear()

    def result(self) -> Counter[str]:
        """The words and how often each occurred."""
        self._find_words()
        return self._words


class CountingJob:
    """The task of a worker: counts the words of pieces of the corpus, or of a share of them.

    Called with a piece and how much of the corpus is read with it, it gives that number back. `result` gives the words.
    """

    def __init__(self, special_tokens: Sequence[str], options: ReadOptions, share: float) -> None:
        """
        Args:
            share: how much of the text to count, spread over all of it: whole documents, or stretches of long ones,
                chosen by their hash.
        """
        self._counter = WordCounter(special_tokens)
        self._options = options
        self._limit = int(min(1.0, share) * 2**64)

    def __call__(self, task: tuple[Piece, int]) -> int:
        """Count a piece."""
        piece, bytes_read = task
        texts = documents_of(piece, self._options)[0] if isinstance(piece, Block) else [piece.text]
        for text in texts if self._limit >= 2**64 else self._sample(texts):
            self._counter.add(text)
        return bytes_read

    def _sample(self, texts: list[str]) -> Iterator[str]:
        for text in texts:
            for part in _parts(text):
                digest = hashlib.blake2b(part.encode(), digest_size=8, person=b"bittygpt-vocab")
                if int.from_bytes(digest.digest(), "little") < self._limit:
                    yield part

    def result(self) -> Counter[str]:
        """The words and how often each occurred."""
        return self._counter.result()


def _parts(text: str) -> Iterator[str]:
    """A text in parts of at most 65,536 characters, as far as it has places to cut."""
    start = 0
    while (
        cut := safe_cut(text[start : start + _SAMPLE_CHARACTERS])
        if len(text) - start > _SAMPLE_CHARACTERS
        else 0
    ):
        yield text[start : start + cut]
        start += cut
    yield text[start:]
