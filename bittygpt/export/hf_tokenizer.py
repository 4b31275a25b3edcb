"""The vocabulary as Hugging Face's `tokenizer.json`: the same ids for any text, in every program that reads it.

bitty's file holds the tokens in merge order but not which two parts each was merged from; the parts are found again
by merging a token's bytes with the merges before it.
"""

import re
from functools import cache
from itertools import pairwise
from typing import Any

from bittygpt.data.tokenizer import END_OF_TEXT, Tokenizer


class UnderivableError(ValueError):
    """No other program gives the same ids: the vocabulary was edited, and a token is no merge of two earlier ones, or a
    special token is spelled as another token is there; or it merges in an order of its own."""


@cache
def byte_characters() -> list[str]:
    """The printable character that stands for each byte in GPT-2's files (Radford et al. 2019).

    Bytes that are printable in Latin-1 stand for themselves; the others, in order, for U+0100 and on.
    """
    printable = {*range(ord("!"), ord("~") + 1), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    others = (chr(0x100 + number) for number in range(256))
    return [chr(byte) if byte in printable else next(others) for byte in range(256)]


def spell(token: bytes) -> str:
    """A token in these characters, which is how `tokenizer.json` and GGUF write it."""
    characters = byte_characters()
    return "".join(characters[byte] for byte in token)


def spelled_vocabulary(tokenizer: Tokenizer) -> list[str]:
    """Every token as those files write it, by id; special tokens are written as they are.

    Raises:
        UnderivableError: a special token is spelled as another token.
    """
    num_special = len(tokenizer.special_tokens)
    spelled = [*tokenizer.special_ids, *map(spell, tokenizer.vocabulary[num_special:])]
    if len(set(spelled)) != len(spelled):
        twice = next(token for token in tokenizer.special_ids if spelled.count(token) > 1)
        raise UnderivableError(f"another token is spelled as the special token {twice!r}")
    return spelled


def derive_merges(tokenizer: Tokenizer) -> list[tuple[bytes, bytes]]:
    """The two parts of every merged token, in merge order.

    Raises:
        UnderivableError: a token is not made of exactly two earlier ones, or the merges are not what ids come from.
    """
    if tokenizer.encoding == "bitty":
        raise UnderivableError("encoding: bitty merges greedily, and no other program does")
    first_merged = len(tokenizer.special_tokens) + 256
    ranks = {bytes([byte]): byte for byte in range(256)}
    merges = []
    for token_id, token in enumerate(tokenizer.vocabulary[first_merged:], first_merged):
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


def encode_with_special_tokens(tokenizer: Tokenizer, text: str) -> list[int]:
    """The ids that the exported tokenizer gives.

    Hugging Face's tokenizers take the text of a special token for that token, the longest that fits at each place;
    `Tokenizer.encode` takes it for plain text, as training does.
    """
    longest_first = sorted(tokenizer.special_ids, key=len, reverse=True)
    pieces = re.split(f"({'|'.join(map(re.escape, longest_first))})", text) if longest_first else [text]
    ids = []
    for piece in pieces:
        special_id = tokenizer.special_ids.get(piece)
        ids += tokenizer.encode(piece) if special_id is None else [special_id]
    return ids


def tokenizer_files(tokenizer: Tokenizer, context_length: int) -> dict[str, Any]:
    """`tokenizer.json` and `tokenizer_config.json` as values to be written as JSON, by file name.

    Raises:
        UnderivableError: no such file gives the same ids.
    """
    vocab = {token: token_id for token_id, token in enumerate(spelled_vocabulary(tokenizer))}
    flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
    model = {
        "type": "BPE",
        "dropout": None,
        "unk_token": None,
        "continuing_subword_prefix": None,
        "end_of_word_suffix": None,
        "fuse_unk": False,
        "byte_fallback": False,
        "ignore_merges": True,
        "vocab": vocab,
        "merges": [[spell(left), spell(right)] for left, right in derive_merges(tokenizer)],
    }
    return {
        "tokenizer.json": {
            "version": "1.0",
            "truncation": None,
            "padding": None,
            "added_tokens": [
                {"id": i, "content": token, **flags} for token, i in tokenizer.special_ids.items()
            ],
            "normalizer": None,
            "pre_tokenizer": byte_level,
            "post_processor": None,
            "decoder": byte_level,
            "model": model,
        },
        "tokenizer_config.json": {
            "tokenizer_class": "PreTrainedTokenizerFast",  # the one name that transformers 4 and 5 both load
            "bos_token": END_OF_TEXT,
            "eos_token": END_OF_TEXT,
            "pad_token": END_OF_TEXT,
            "model_max_length": context_length,
            "clean_up_tokenization_spaces": False,
            "model_input_names": ["input_ids", "attention_mask"],
        },
    }
