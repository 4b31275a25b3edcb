"""From text to pre-tokens: the pieces ("words") inside which byte pairs are merged, never across them.

The pattern is GPT-2's (Radford et al. 2019, "Language Models are Unsupervised Multitask Learners"), which
bitty-tokenizer uses as well.
"""

import regex

GPT_2_PATTERN = r"""'(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"""
WORD = regex.compile(GPT_2_PATTERN)


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
