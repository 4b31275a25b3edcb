"""The tokenizer: text to token ids and back, over a vocabulary in bitty-tokenizer's format.

bitty-tokenizer itself is not imported: it defines the file and the vocabulary, and is the oracle of the tests.
"""

import codecs
import hashlib
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from bittygpt.errors import DataError
from bittygpt.tokenizer.encoders import LeftToRightEncoder, RankOrderEncoder
from bittygpt.tokenizer.vocabulary import (
    check_vocabulary,
    leading_special_tokens,
    read_vocabulary,
    write_vocabulary,
)

END_OF_TEXT = "<|endoftext|>"

_ENCODERS: dict[str, type[RankOrderEncoder] | type[LeftToRightEncoder]] = {
    "bpe": RankOrderEncoder,
    "bitty": LeftToRightEncoder,
}


class Tokenizer:
    """Text to token ids and back.

    Attributes:
        vocabulary: the bytes of each token, in id order: special tokens, the 256 single bytes, merged tokens.
        special_tokens: the special tokens' text; their ids are their places in this list.
        encoding: "bpe" merges in the order in which the vocabulary was learnt, as every other runtime does;
            "bitty" gives the ids of bitty-tokenizer's own encoder.
    """

    def __init__(
        self,
        vocabulary: Sequence[bytes],
        special_tokens: Sequence[str],
        encoding: Literal["bpe", "bitty"] = "bpe",
    ) -> None:
        """
        Raises:
            DataError: the vocabulary is not one: special tokens or single bytes are out of place, an entry is
                empty or stands twice; or the encoding is unknown.
        """
        check_vocabulary(vocabulary, special_tokens)
        if encoding not in _ENCODERS:
            raise DataError(f'tokenizer.encoding is {encoding!r}; it must be "bpe" or "bitty"')
        self.vocabulary = list(vocabulary)
        self.special_tokens = list(special_tokens)
        self.encoding = encoding
        mergeable_ids = {
            token: token_id
            for token_id, token in enumerate(self.vocabulary)
            if token_id >= len(self.special_tokens)
        }
        self._encoder = _ENCODERS[encoding](mergeable_ids)

    @classmethod
    def load(
        cls,
        path: str | Path,
        special_tokens: Sequence[str] | None = None,
        encoding: Literal["bpe", "bitty"] = "bpe",
    ) -> "Tokenizer":
        """The tokenizer of a `vocab.json`, ours or bitty-tokenizer's.

        Args:
            special_tokens: in id order; None takes the entries in front of the 256 single bytes.

        Raises:
            DataError: the file cannot be read or does not hold such a vocabulary; names the file and the entry.
        """
        vocabulary = read_vocabulary(Path(path))
        if special_tokens is None:
            special_tokens = leading_special_tokens(vocabulary, source=path)
        check_vocabulary(vocabulary, special_tokens, source=path)
        return cls(vocabulary, special_tokens, encoding)

    def save(self, path: str | Path) -> None:
        """Writes `vocab.json`, byte for byte as bitty-tokenizer does and all or nothing.

        Raises:
            DataError: the file cannot be written there.
        """
        write_vocabulary(Path(path), self.vocabulary)

    @property
    def vocab_size(self) -> int:
        """The number of entries, special tokens included."""
        return len(self.vocabulary)

    @property
    def special_ids(self) -> dict[str, int]:
        """The id of each special token."""
        return {token: token_id for token_id, token in enumerate(self.special_tokens)}

    @property
    def end_of_text_id(self) -> int:
        """The id of the token after each document.

        Raises:
            DataError: the vocabulary has no such token.
        """
        if END_OF_TEXT not in self.special_tokens:
            raise DataError(
                f"the vocabulary has no special token {END_OF_TEXT}, which ends every document; "
                "train one with it under tokenizer.special_tokens"
            )
        return self.special_tokens.index(END_OF_TEXT)

    @property
    def token_dtype(self) -> type[np.uint16] | type[np.uint32]:
        """The smallest type that shards can hold the ids in: uint16 or uint32."""
        return np.uint16 if self.vocab_size <= 2**16 else np.uint32

    def encode(self, text: str) -> list[int]:
        """The token ids of a text; none of them special, whatever the text. Lone surrogates become U+FFFD."""
        return self._encoder.encode(text)

    def encode_documents(self, texts: Sequence[str]) -> npt.NDArray[np.unsignedinteger]:
        """The token ids of all texts, each followed by `<|endoftext|>`: (tokens,) of `token_dtype`.

        The ids of a text are those of `encode`, in less than half the time.

        Raises:
            DataError: the vocabulary has no such token.
        """
        return self._encoder.encode_documents(texts, self.end_of_text_id).astype(self.token_dtype)

    def decode_bytes(self, ids: Iterable[int]) -> bytes:
        """The bytes that the ids stand for, a special token as its text.

        Raises:
            DataError: an id is not in the vocabulary.
        """
        ids = list(ids)
        for token_id in ids:
            if not 0 <= token_id < self.vocab_size:
                raise DataError(
                    f"token id {token_id} is not in the vocabulary, which has ids 0 to {self.vocab_size - 1}; "
                    "decode with the vocab.json that the ids were made with"
                )
        return b"".join([self.vocabulary[token_id] for token_id in ids])

    def decode(self, ids: Iterable[int]) -> str:
        """The text of the ids; bytes that are no UTF-8 become U+FFFD.

        Raises:
            DataError: an id is not in the vocabulary.
        """
        return self.decode_bytes(ids).decode("utf-8", errors="replace")

    def token_bytes(self) -> npt.NDArray[np.int32]:
        """How many bytes of text each token stands for, shape (vocab_size,); 0 for the special tokens."""
        lengths = np.array([len(token) for token in self.vocabulary], dtype=np.int32)
        lengths[: len(self.special_tokens)] = 0
        return lengths

    def description(self) -> dict[str, Any]:
        """What `manifest.json` says of it."""
        return {
            "hash": self.hash(),
            "encoding": self.encoding,
            "vocab_size": self.vocab_size,
            "special_tokens": self.special_tokens,
        }

    def hash(self) -> str:
        """SHA-256, in hexadecimal, of the vocabulary, the special tokens and the encoding.

        Two tokenizers of one hash give the same ids for every text. It is taken over the tokens, not over the
        file, so that another formatting of `vocab.json` leaves it alone.
        """
        identity = [self.encoding, self.special_tokens, [token.hex() for token in self.vocabulary]]
        return hashlib.sha256(json.dumps(identity, separators=(",", ":")).encode("ascii")).hexdigest()


class StreamingDecoder:
    """Decodes ids one by one as they are generated, and never yields half a character."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")

    def push(self, token_id: int) -> str:
        """The text that is complete with this id; empty while a character still lacks bytes.

        Raises:
            DataError: the id is not in the vocabulary.
        """
        return self._decoder.decode(self._tokenizer.decode_bytes([token_id]))

    def flush(self) -> str:
        """What remains at the end: U+FFFD for a character that was never completed, otherwise nothing."""
        return self._decoder.decode(b"", final=True)
