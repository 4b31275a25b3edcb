"""Two ways from text to token ids over one vocabulary: merges in the order learnt, or greedily from the left.

Both treat the text of a special token as plain text: no text can produce a special token.
"""

from array import array
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import regex
import tiktoken

from bittygpt.tokenizer.pretokenization import WORD, well_formed

# GPT_2_PATTERN with possessive quantifiers: the same matches without backtracking. The two engines know different
# versions of Unicode: a few thousand code points that `regex` does not know yet (`Cn`, unassigned) count as letters
# or digits for one and as symbols for the other, and may be cut differently. No text in use holds them.
_PATTERN = r"""'(?:[sdmt]|ll|ve|re)| ?\p{L}++| ?\p{N}++| ?[^\s\p{L}\p{N}]++|\s++$|\s+(?!\S)|\s"""

# tiktoken's engine backtracks through white space that text follows, and panics beyond a million characters of it.
_LONGEST_WHITE_SPACE = 500_000
_WHITE_SPACE = regex.compile(r"\s+")

# The pattern's one look ahead, (?!\S), keeps it from the engine's fast half: it takes twice the time. All it does is
# to leave the last white space of a run to the word behind it. A mark in front of that white space does the same, and
# a second mark parts documents, so that many are encoded in one call. The marks are code points that are no characters.
_APART, _END = "\U0010fffe", "\U0010ffff"
_MARKED_PATTERN = rf"{_APART}|'(?:[sdmt]|ll|ve|re)| ?\p{{L}}+| ?\p{{N}}+| ?[^\s\p{{L}}\p{{N}}{_APART}]+|\s+"
# White space as the pattern has it; Python's own also counts the separators U+001C to U+001F. The last place of the
# table stands for all code points beyond it.
_FEW_SPACES = [*b"\t\n\v\f\r ", *map(ord, "\x85\xa0\u1680\u2028\u2029\u202f\u205f\u3000")]
_IS_SPACE = np.zeros(max(_FEW_SPACES) + 2, dtype=np.bool_)
_IS_SPACE[[*_FEW_SPACES, *range(0x2000, 0x200B)]] = True

_CACHED_WORDS = 65_536
_LONGEST_CACHED_WORD = 64  # characters

Ids = npt.NDArray[np.uint32]


class RankOrderEncoder:
    """Byte-pair encoding as it was learnt: in each word, the earliest learnt merge first (Sennrich et al. 2016)."""

    def __init__(self, mergeable_ids: Mapping[bytes, int]) -> None:
        """
        Args:
            mergeable_ids: the id of each token that is not special; a lower id is an earlier merge.
        """
        self._mergeable_ids = dict(mergeable_ids)
        self._apart_id = max(self._mergeable_ids.values(), default=0) + 1
        self._end_id = self._apart_id + 1

    @cached_property
    def _plain(self) -> tiktoken.Encoding:
        return tiktoken.Encoding(
            "bittygpt", pat_str=_PATTERN, mergeable_ranks=self._mergeable_ids, special_tokens={}
        )

    @cached_property
    def _marked(self) -> tiktoken.Encoding:
        return tiktoken.Encoding(
            "bittygpt-marked",
            pat_str=_MARKED_PATTERN,
            mergeable_ranks=self._mergeable_ids | {_APART.encode(): self._apart_id},
            special_tokens={_END: self._end_id},
        )

    def encode(self, text: str) -> list[int]:
        """The token ids of a text."""
        # Lone surrogates become U+FFFD inside tiktoken, as well_formed does it.
        if len(text) <= _LONGEST_WHITE_SPACE:
            return self._plain.encode_ordinary(text)
        # In front of the last white space before a word the pattern cuts anyway, so this changes no id.
        spaces = (match.span() for match in _WHITE_SPACE.finditer(text))
        long_spaces = [end for start, end in spaces if end - start >= _LONGEST_WHITE_SPACE]
        cuts = [0, *(end - 1 for end in long_spaces if end < len(text)), len(text)]
        return [
            token_id
            for start, end in pairwise(cuts)
            for token_id in self._plain.encode_ordinary(text[start:end])
        ]

    def encode_documents(self, texts: Sequence[str], end_id: int) -> Ids:
        """The token ids of all texts, each followed by `end_id`: (tokens,)."""
        joined = _END.join([*map(well_formed, texts), ""])
        if joined.count(_END) != len(texts) or _APART in joined:
            return _joined(map(self.encode, texts), end_id)
        ids = self._marked.encode_to_numpy(
            _mark_special(joined), allowed_special={_END}, disallowed_special=()
        )
        ids = ids[ids != self._apart_id]
        ids[ids == self._end_id] = end_id
        return ids


def _mark_special(text: str) -> str:
    """Mark the last white space of every run of two or more that a word stands behind."""
    characters = np.frombuffer(text.encode("utf-32-le"), dtype="<u4")
    is_space = _IS_SPACE.take(characters, mode="clip")
    ends = is_space[:-2] & is_space[1:-1] & ~is_space[2:] & (characters[2:] != ord(_END))
    marked = np.insert(characters, np.flatnonzero(ends) + 1, ord(_APART))
    return str(marked.data, "utf-32-le")


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

    def encode_documents(self, texts: Sequence[str], end_id: int) -> Ids:
        """The token ids of all texts, each followed by `end_id`: (tokens,)."""
        return _joined(map(self.encode, texts), end_id)

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


def _joined(encoded: Iterable[list[int]], end_id: int) -> Ids:
    ids: list[int] = []
    for document in encoded:
        ids += document
        ids.append(end_id)
    return np.array(array("I", ids), dtype=np.uint32)  # three times as fast as from the list itself
