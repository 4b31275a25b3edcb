"""Byte-pair encoding: learns a vocabulary from a text by merging its most frequent pair of tokens, again and again.

Sennrich, Haddow and Birch 2016, "Neural Machine Translation of Rare Words with Subword Units", on bytes as in
GPT-2 (Radford et al. 2019). The vocabulary equals bitty-tokenizer's, entry for entry. Counting every pair anew
after each merge, as the definition reads, costs a pass over all words a merge; here a merge changes only the counts
beside the places where it happens.
"""

import heapq
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from operator import add

from bittygpt.errors import DataError
from bittygpt.tokenizer.vocabulary import SINGLE_BYTES, check_special_tokens


def train_bpe(
    word_counts: Mapping[str, int],
    vocab_size: int,
    special_tokens: Sequence[str],
    on_progress: Callable[[int, int], None] | None = None,
) -> list[bytes]:
    """Learns a vocabulary of at most `vocab_size` entries from the counts of a text's words (pre-tokens).

    Each merge takes the pair of neighbouring tokens that is most frequent, of equally frequent ones the greater
    as a tuple of two byte strings, and ends where the best pair occurs once only. Occurrences may overlap: in "aaa"
    (a, a) counts twice, though it is merged once, from the left.

    Args:
        vocab_size: entries in all, special tokens and the 256 single bytes included.
        on_progress: called after each merge with the merges done and the merges to do.

    Returns:
        The tokens in id order: special tokens, single bytes, merged tokens in merge order; fewer than
        `vocab_size` where the text has no more pairs to merge.

    Raises:
        DataError: `vocab_size` has no room for the special tokens and the single bytes, or a special token is
            not usable.
    """
    check_special_tokens(special_tokens)
    num_merges = vocab_size - len(special_tokens) - len(SINGLE_BYTES)
    if num_merges < 0:
        raise DataError(
            f"tokenizer.vocab_size is {vocab_size}, but {len(special_tokens)} special tokens and 256 bytes need "
            f"{len(special_tokens) + 256}; set it to that or more"
        )
    pairs = _PairCounts(word_counts)
    for merges_done in range(num_merges):
        pair = pairs.most_frequent()
        if pair is None:
            break
        pairs.merge(pair)
        if on_progress is not None:
            on_progress(merges_done + 1, num_merges)
    return [token.encode("utf-8") for token in special_tokens] + pairs.tokens


class _PairCounts:
    """All words as sequences of tokens, and how often each pair of neighbouring tokens occurs in them.

    A word is a string with one character a token, chr(i) for tokens[i], and a pair is a string of two: so the
    splitting and joining of str does the merging, from the left and without overlap, at the speed of C.
    """

    def __init__(self, word_counts: Mapping[str, int]) -> None:
        self.tokens = list(SINGLE_BYTES)
        self._sort_keys = [_descending(token) for token in self.tokens]
        self._words = [word.encode("utf-8").decode("latin-1") for word in word_counts]
        self._frequencies = list(word_counts.values())
        self._counts: defaultdict[str, int] = defaultdict(int)
        # A word stands there once for each occurrence it had or has: what is gone, a merge finds out.
        self._words_with: defaultdict[str, list[int]] = defaultdict(list)
        for index, (word, frequency) in enumerate(zip(self._words, self._frequencies, strict=True)):
            for pair in map(add, word, word[1:]):
                self._counts[pair] += frequency
                self._words_with[pair].append(index)
        # A pair that occurs once is never merged, and no count grows later: the heap can do without it.
        self._heap = [self._heap_entry(pair) for pair, count in self._counts.items() if count > 1]
        heapq.heapify(self._heap)

    def _heap_entry(self, pair: str) -> tuple[int, str, str, str]:
        left, right = map(ord, pair)
        return -self._counts[pair], self._sort_keys[left], self._sort_keys[right], pair

    def most_frequent(self) -> str | None:
        """The pair to merge next, or None where none occurs more than once.

        Counts fall without a word to the heap, so an entry may promise too much, but never too little: a pair
        gains occurrences only in the merge that creates one of its tokens, and enters the heap after it.
        """
        while self._heap:
            promised, _, _, pair = self._heap[0]
            count = self._counts[pair]
            if -promised == count:
                return pair
            if count > 1:
                heapq.heapreplace(self._heap, self._heap_entry(pair))
            else:
                heapq.heappop(self._heap)
        return None

    def merge(self, pair: str) -> None:
        """Makes the pair one new token, in every word."""
        left, right = pair[0], pair[1]
        merged = chr(len(self.tokens))
        self.tokens.append(self.tokens[ord(left)] + self.tokens[ord(right)])
        self._sort_keys.append(_descending(self.tokens[-1]))
        words, counts, words_with = self._words, self._counts, self._words_with
        words_with_merged: defaultdict[str, list[int]] = defaultdict(list)
        for index in words_with.pop(pair):
            parts = words[index].split(pair)
            if len(parts) == 1:  # this merge, or an earlier one, has taken it from the word
                continue
            words[index] = merged.join(parts)
            frequency = self._frequencies[index]
            if len(parts) == 2:  # the usual case: without the generality of the seams a quarter faster in all
                before, after = parts
                if before:
                    counts[before[-1] + left] -= frequency
                    words_with_merged[before[-1] + merged].append(index)
                if after:
                    counts[right + after[0]] -= frequency
                    words_with_merged[merged + after[0]].append(index)
            else:
                for old_pair in _pairs_at_seams(parts, left, right):
                    counts[old_pair] -= frequency
                for new_pair in _pairs_at_seams(parts, merged, merged):
                    words_with_merged[new_pair].append(index)
        del counts[pair]
        words_with.update(words_with_merged)
        for new_pair, indices in words_with_merged.items():
            counts[new_pair] = sum(map(self._frequencies.__getitem__, indices))
            if counts[new_pair] > 1:
                heapq.heappush(self._heap, self._heap_entry(new_pair))


def _pairs_at_seams(parts: list[str], left: str, right: str) -> list[str]:
    """The pairs across the edges of the parts, where `left` follows each part but the last and `right` precedes
    each but the first."""
    last = len(parts) - 1
    pairs = []
    for i, part in enumerate(parts):
        if part and i > 0:
            pairs.append(right + part[0])
        if part and i < last:
            pairs.append(part[-1] + left)
        if not part and 0 < i < last:
            pairs.append(right + left)
    return pairs


def _descending(token: bytes) -> str:
    """A key that sorts tokens from the greatest to the least, as the heap has the least entry on top.

    Each byte is turned round (255 - byte); an end mark above all of them puts b"ab" in front of its prefix b"a".
    """
    return bytes(255 - byte for byte in token).decode("latin-1") + "\u0100"
