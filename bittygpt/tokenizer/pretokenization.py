"""From text to pre-tokens: the pieces ("words") inside which byte pairs are merged, never across them.

The pattern is GPT-2's (Radford et al. 2019, "Language Models are Unsupervised Multitask Learners"), which
bitty-tokenizer uses as well.
"""

import re

import regex

GPT_2_PATTERN = r"""'(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"""
WORD = regex.compile(GPT_2_PATTERN)

# A word begins wherever white space follows something else: nothing in the pattern spans that place or looks across
# it. Python's \s also has the separators U+001C to U+001F, which the pattern takes for symbols: no cut beside them.
_WORDS_APART = re.compile(r"(?<=\S)(?=[ \n\t\r])")
_CHUNK = re.compile(r"\s*\S+|\s+")
_FALSE_SPACE = re.compile("[\x1c-\x1f]")
_NEAR_THE_END = 4096


def safe_cut(text: str) -> int:
    """The last place where a text can be cut in two without changing its words, 0 where there is none."""
    for start in (max(0, len(text) - _NEAR_THE_END), 0):
        places = [match.start() for match in _WORDS_APART.finditer(text, start)]
        if places:
            return places[-1]
    return 0


def chunks(text: str) -> list[str]:
    """Text cut where white space follows something else: the words of the chunks are the words of the text.

    Far quicker than finding the words, so that equal chunks can be counted before any is looked into.
    """
    return [text] if _FALSE_SPACE.search(text) else _CHUNK.findall(text)


def well_formed(text: str) -> str:
    """The text with surrogate pairs joined and lone surrogates replaced by U+FFFD, so that UTF-8 can hold it.

    A JSON string may carry half a surrogate pair (`"\\ud83d"`); such a text has no bytes to tokenise. Any
    other text comes back as it is.
    """
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return text
