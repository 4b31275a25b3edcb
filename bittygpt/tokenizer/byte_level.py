"""What GPT-2's family of tokenizers makes of a vocabulary: bytes spelled as characters, and merges of two parts.

bitty's file holds the tokens in merge order but not which two parts each was merged from; the parts are found again
by merging a token's bytes with the merges before it.
"""

from collections.abc import Sequence
from itertools import pairwise


class UnderivableError(ValueError):
    """No other program gives the same ids: the vocabulary was edited, and a token is no merge of two earlier ones, or a
    special token is spelled as another token is there; or it merges in an order of its own."""


def _byte_characters() -> list[str]:
    printable = {*range(ord("!"), ord("~") + 1), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    others = (chr(0x100 + number) for number in range(256))
    return [chr(byte) if byte in printable else next(others) for byte in range(256)]


BYTE_CHARACTERS = _byte_characters()
"""The printable character that stands for each byte in GPT-2's files (Radford et al. 2019).

Bytes that are printable in Latin-1 stand for themselves; the others, in order, for U+0100 and on.
"""
_BYTES = {character: byte for byte, character in enumerate(BYTE_CHARACTERS)}


def spell(token: bytes) -> str:
    """A token in these characters, which is how `tokenizer.json` and GGUF write it."""
    return token.decode("latin-1").translate(BYTE_CHARACTERS)


def unspell(spelled: str) -> bytes:
    """The token that is spelled so. Raises KeyError for a character that stands for no byte."""
    return bytes(_BYTES[character] for character in spelled)


def merges_of(vocabulary: Sequence[bytes], first_merged: int) -> list[tuple[bytes, bytes]]:
    """The two parts of every token from `first_merged` on, in merge order.

    Raises:
        UnderivableError: a token is not made of exactly two earlier ones.
    """
    ranks = {bytes([byte]): byte for byte in range(256)}
    merges = []
    for token_id, token in enumerate(vocabulary[first_merged:], first_merged):
        parts = _merge(token, ranks)
        if len(parts) != 2:
            raise UnderivableError(
                f"token {token_id}, {token!r}, is made of {len(parts)} earlier tokens and not of two"
            )
        merges.append((parts[0], parts[1]))
        ranks[token] = token_id
    return merges


def _merge(token: bytes, ranks: dict[bytes, int]) -> list[bytes]:
    """The token's bytes, merged by the ranks known so far, lowest rank first."""
    parts = [bytes([byte]) for byte in token]
    while len(parts) > 1:
        ranked = ((ranks.get(left + right), place) for place, (left, right) in enumerate(pairwise(parts)))
        known = [(rank, place) for rank, place in ranked if rank is not None]
        if not known:
            break
        _, place = min(known)
        parts[place : place + 2] = [parts[place] + parts[place + 1]]
    return parts
