"""The vocabulary as Hugging Face's `tokenizer.json`: the same ids for any text, in every program that reads it."""

import re
from typing import Any

from bittygpt.tokenizer.byte_level import UnderivableError, merges_of, spell
from bittygpt.tokenizer.tokenizer import END_OF_TEXT, Tokenizer


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
    return merges_of(tokenizer.vocabulary, len(tokenizer.special_tokens) + 256)


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
