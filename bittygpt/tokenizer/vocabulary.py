"""The vocabulary: a list of byte strings, and bitty-tokenizer's file of it, `vocab.json`.

The index of an entry is its token id. The order is fixed: special tokens, the 256 single bytes, then the merged
tokens in the order in which they were merged. The file maps each id to a Python bytes literal:
`{"0": "b'<|endoftext|>'", "1": "b'\\\\x00'", ...}`. bitty-tokenizer runs `eval` on it; here a literal is parsed,
and what is not one is refused.
"""

import json
import re
from collections.abc import Sequence
from pathlib import Path

from bittygpt.errors import DataError
from bittygpt.files import write_text
from bittygpt.tokenizer.pretokenization import well_formed
from bittygpt.tokenizer.tokenizer_json import vocabulary_of

SINGLE_BYTES = [bytes([value]) for value in range(256)]

_ESCAPE = r"""\\(?:[\\'"tnr]|x[0-9a-f]{2})"""
_BYTES_LITERAL = re.compile(rf"""b'(?:[ -&(-\[\]-~]|{_ESCAPE})*'|b"(?:[ !#-\[\]-~]|{_ESCAPE})*\"""")

_REMEDY = "train the vocabulary again (bittygpt tokenize), or name another file under tokenizer.vocab"


def read_vocabulary(path: Path) -> list[bytes]:
    """Reads the tokens of a `vocab.json` in id order, without running any of it, or those of a `tokenizer.json`.

    Raises:
        DataError: the file cannot be read, is not a JSON object with the keys "0" to "n-1", or holds a value
            that is not a bytes literal.
    """
    try:
        entries = json.loads(path.read_text(encoding="utf-8"), object_pairs_hook=_without_double_keys)
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}); {_REMEDY}") from error
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path}: is not JSON ({error}); {_REMEDY}") from error
    if not isinstance(entries, dict):
        raise DataError(f"{path}: is not a JSON object that maps ids to tokens; {_REMEDY}")
    if "model" in entries:
        return vocabulary_of(entries, path).tokens
    for token_id in range(len(entries)):
        if str(token_id) not in entries:
            raise DataError(
                f'{path}: the keys of {len(entries)} entries must be "0" to "{len(entries) - 1}", '
                f'but "{token_id}" is missing; {_REMEDY}'
            )
    return [_parse_token(entries[str(token_id)], token_id, path) for token_id in range(len(entries))]


def _without_double_keys(pairs: list[tuple[str, object]]) -> dict[str, object]:
    entries = dict(pairs)
    if len(entries) < len(pairs):
        keys = [key for key, _ in pairs]
        raise ValueError(f'key "{next(key for key in keys if keys.count(key) > 1)}" stands twice')
    return entries


def _parse_token(literal: object, token_id: int, path: Path) -> bytes:
    # The pattern is the grammar of repr(bytes) and nothing more: its few escapes mean the same in "unicode_escape",
    # which is ten times as fast as parsing the literal.
    if not isinstance(literal, str) or not _BYTES_LITERAL.fullmatch(literal):
        shown = repr(literal)[:60]
        raise DataError(f'{path}: the value of "{token_id}" is not a bytes literal: {shown}; {_REMEDY}')
    return literal[2:-1].encode("ascii").decode("unicode_escape").encode("latin-1")


def write_vocabulary(path: Path, vocabulary: Sequence[bytes]) -> None:
    """Writes `vocab.json`, byte for byte as bitty-tokenizer does; a kill leaves the old file or the new one.

    Raises:
        DataError: the file cannot be written there.
    """
    try:
        write_text(path, vocabulary_as_text(vocabulary))
    except OSError as error:
        raise DataError(
            f"{path}: cannot be written ({error.strerror}); choose a folder that can be"
        ) from error


def vocabulary_as_text(vocabulary: Sequence[bytes]) -> str:
    """The contents of such a `vocab.json`."""
    return json.dumps({str(token_id): repr(token) for token_id, token in enumerate(vocabulary)}, indent=2)


def leading_special_tokens(vocabulary: Sequence[bytes], source: object = "the vocabulary") -> list[str]:
    """The special tokens of a vocabulary: the entries in front of the 256 single bytes.

    Args:
        source: where the vocabulary comes from, for the message of an error.

    Raises:
        DataError: there are no single bytes, or an entry in front of them is not UTF-8.
    """
    special_tokens: list[str] = []
    for token in vocabulary:
        if token == SINGLE_BYTES[0]:
            return special_tokens
        try:
            special_tokens.append(token.decode("utf-8"))
        except UnicodeDecodeError:
            break
    raise DataError(
        f"{source}: entry {len(special_tokens)} is {_entry(vocabulary, len(special_tokens))}, but the 256 single "
        f"bytes must follow the special tokens, from b'\\x00' on; {_REMEDY}"
    )


def check_special_tokens(special_tokens: Sequence[str]) -> None:
    """Raises DataError where a special token stands twice, is no UTF-8, or is no longer than a single byte.

    The 256 single bytes are entries of their own, so that a special token of one byte would be two entries.
    """
    for index, special_token in enumerate(special_tokens):
        if len(special_token.encode("utf-8", "replace")) < 2 or special_token != well_formed(special_token):
            raise DataError(
                f"special token {special_token!r} must be valid Unicode of at least 2 bytes; "
                "rename it under tokenizer.special_tokens"
            )
        if special_token in special_tokens[:index]:
            raise DataError(
                f"special token {special_token!r} stands twice; remove one under tokenizer.special_tokens"
            )


def check_vocabulary(
    vocabulary: Sequence[bytes], special_tokens: Sequence[str], source: object = "the vocabulary"
) -> None:
    """Raises DataError unless the special tokens come first, then the 256 single bytes, and no entry twice.

    Args:
        source: where the vocabulary comes from, for the message.
    """
    check_special_tokens(special_tokens)
    num_special = len(special_tokens)
    for token_id, token in enumerate([*map(str.encode, special_tokens), *SINGLE_BYTES]):
        if token_id >= len(vocabulary) or vocabulary[token_id] != token:
            expected = (
                f"the special token {special_tokens[token_id]!r}"
                if token_id < num_special
                else f"{token!r}: the 256 single bytes must follow the {num_special} special tokens"
            )
            raise DataError(
                f"{source}: entry {token_id} is {_entry(vocabulary, token_id)}, not {expected}; give "
                "tokenizer.special_tokens as the file was trained with"
            )
    first_id: dict[bytes, int] = {}
    for token_id, token in enumerate(vocabulary):
        if not token:
            raise DataError(f"{source}: entry {token_id} is empty; {_REMEDY}")
        if first_id.setdefault(token, token_id) != token_id:
            raise DataError(
                f"{source}: entries {first_id[token]} and {token_id} are both {token!r}; {_REMEDY}"
            )


def _entry(vocabulary: Sequence[bytes], token_id: int) -> str:
    return repr(vocabulary[token_id]) if token_id < len(vocabulary) else "missing"
