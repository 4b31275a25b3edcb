"""The words of texts, counted in one call."""

from collections import Counter
from collections.abc import Iterable, Sequence

from bittygpt.data.preparation.word_counts import WordCounter


def count_words(documents: Iterable[str], special_tokens: Sequence[str]) -> Counter[str]:
    """Counts the words of the documents."""
    counter = WordCounter(special_tokens)
    for document in documents:
        counter.add(document)
    return counter.result()
