"""Two ways from text to token ids over one vocabulary: merges in the order learnt, or greedily from the left.

Both treat the text of a special token as plain text: no text can produce a special token.
"""

from collections.abc import Mapping
from itertools import pairwise

import regex
import tiktoken

from bittygpt.data.pretokenization import WORD, well_formed

# GPT_2_PATTERN with possessive quantifiers: the same matches without backtracking. The two engines know different
# versions of Unicode: a few thousand code points that `regex` does not know yet (`Cn`, unassigned) count as letters
# or digits for one and as symbols for the other, and may be cut differently. No text in use holds them.
_TIKTOKEN_PATTERN = r"""'(?:[sdmt]|ll|ve|re)| ?\p{L}++| ?\p{N}++| ?[^\s\p{L}\p{N}]++|\s++$|\s+(?!\S)|\s"""

# tiktoken's engine backtracks through white space that text follows, and panics beyond a million characters of it.
_LONGEST_WHITE_SPACE = 500_000
_LONG_WHITE_SPACE = regex.compile(rf"(?<!\s)\s{{{_LONGEST_WHITE_SPACE},}}+(?=\S)")

_CACHED_WORDS = 65_536
_LONGEST_CACHED_WORD = 64  # characters


class RankOrderEncoder:
    """Byte-pair encoding as it was learnt: in each word, the earliest learnt merge first (Sennrich et al. 2016)."""

    def __init__(self, mergeable_ids: Mapping[bytes, int]) -> None:
        """
        Args:
            mergeable_ids: the id of each token that is not special; a lower id is an earlier merge.
        """
        self._encoding = tiktoken.Encoding(
            "bittygpt", pat_str=_TIKTOKEN_PATTERN, mergeable_ranks=dict(mergeable_ids), special_tokens={}
        )

    def encode(self, text: str) -> list[int]:
        """The token ids of a text."""
        # Lone surrogates become U+FFFD inside tiktoken, as well_formed does it.
        if len(text) <= _LONGEST_WHITE_SPACE:
            return self._encoding.encode_ordinary(text)
        # In front of the last white space before a word the pattern cuts anyway, so this changes no id.
        cuts = [0, *(match.end() - 1 for match in _LONG_WHITE_SPACE.finditer(text)), len(text)]
        return [
            token_id
            for start, end in pairwise(cuts)
            for token_id in self._encoding.encode_ordinary(text[start:end])
        ]


class LeftToRightEncoder:
    """bitty-tokenizer's own encoder: goes through a word from the left and merges wherever the vocabulary has the
    result, stepping back one token after each merge."""

    def __init__(self, mergeable_ids: Mapping[bytes, int]) -> None:
        """
        Args:
            mergeable_ids: the id of each token that is not special.
        """
        self._ids = dict(mergeable_ids)
        self._cache: dict[str, list[int]] = {}

    def encode(self, text: str) -> list[int]:
        """The token ids of a text."""
        ids: list[int] = []
        for match in WORD.finditer(well_formed(text)):
            word = match[0]
            word_ids = self._cache.get(word)
            if word_ids is None:
                word_ids = self._encode_word(word)
                if len(word) <= _LONGEST_CACHED_WORD:
                    if len(self._cache) >= _CACHED_WORDS:
                        self._cache.clear()
                    self._cache[word] = word_ids
            ids += word_ids
        return ids

    def _encode_word(self, word: str) -> list[int]:
        # `settled` are the tokens to the left. A merged token is compared with the one before it (the step back)
        # before the next byte comes in.
        settled: list[bytes] = []
        for byte in word.encode("utf-8"):
            token = bytes([byte])
            while settled and settled[-1] + token in self._ids:
                token = settled.pop() + token
            settled.append(token)
        return [self._ids[token] for token in settled]
