"""The tokenizer's promises: every text comes back, no text makes a special token, the hash is the tokenizer's."""

import argparse
import inspect
import json
import pickle
from pathlib import Path
from typing import Literal

import bitty
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bittygpt.errors import DataError
from bittygpt.tokenizer.bpe_training import train_bpe
from bittygpt.tokenizer.tokenizer import END_OF_TEXT, StreamingDecoder, Tokenizer
from tests.words import count_words

SOURCE = inspect.getsource(argparse)[:30_000] + " naïve 中文 🙂" * 9
SPECIAL_TOKENS = [END_OF_TEXT, "<|pad|>"]
VOCABULARY = train_bpe(count_words([SOURCE], SPECIAL_TOKENS), 600, SPECIAL_TOKENS)


@pytest.fixture(scope="module", params=["bpe", "bitty"])
def tokenizer(request: pytest.FixtureRequest) -> Tokenizer:
    return Tokenizer(VOCABULARY, SPECIAL_TOKENS, request.param)


@given(text=st.text())
def test_every_text_comes_back(text: str, tokenizer: Tokenizer) -> None:
    assert tokenizer.decode(tokenizer.encode(text)) == text


@given(text=st.lists(st.sampled_from([END_OF_TEXT, "<|pad|>", "a", " ", "<|", "\n"])).map("".join))
def test_no_text_makes_a_special_token(text: str, tokenizer: Tokenizer) -> None:
    ids = tokenizer.encode(text)
    assert all(token_id >= len(SPECIAL_TOKENS) for token_id in ids)
    assert tokenizer.decode(ids) == text


@pytest.mark.parametrize("encoding", ["bpe", "bitty"])
def test_not_even_a_special_token_that_is_a_word_comes_of_text(encoding: Literal["bpe", "bitty"]) -> None:
    tokenizer = Tokenizer([b"stop", *VOCABULARY[2:258]], ["stop"], encoding)
    assert tokenizer.encode("stop") == [byte + 1 for byte in b"stop"]


def test_text_is_merged_and_lone_surrogates_are_replaced(tokenizer: Tokenizer) -> None:
    assert len(tokenizer.encode(SOURCE)) < len(SOURCE) / 2
    assert tokenizer.decode(tokenizer.encode("a\ud83d b\udc00")) == "a\ufffd b\ufffd"
    assert tokenizer.encode("") == []


def test_facts_about_the_vocabulary(tokenizer: Tokenizer) -> None:
    assert tokenizer.vocabulary == VOCABULARY
    assert tokenizer.vocab_size == 600
    assert tokenizer.special_ids == {END_OF_TEXT: 0, "<|pad|>": 1}
    assert tokenizer.end_of_text_id == 0
    assert Tokenizer(VOCABULARY[1:], ["<|pad|>"]).special_ids == {"<|pad|>": 0}
    with pytest.raises(DataError, match="no special token"):
        _ = Tokenizer(VOCABULARY[1:], ["<|pad|>"]).end_of_text_id


def test_token_bytes_add_up_to_the_bytes_of_the_text(tokenizer: Tokenizer) -> None:
    token_bytes = tokenizer.token_bytes()
    assert token_bytes.dtype == np.int32
    assert token_bytes.shape == (600,)
    assert token_bytes[: len(SPECIAL_TOKENS)].tolist() == [0, 0]
    ids = [*tokenizer.encode(SOURCE), tokenizer.end_of_text_id]
    assert token_bytes[ids].sum() == len(SOURCE.encode())


def test_documents_become_one_array_in_their_order(tokenizer: Tokenizer) -> None:
    texts = [SOURCE[:5000], "", "one", "two", SOURCE[5000:]]
    ids = tokenizer.encode_documents(texts)
    assert ids.dtype == np.uint16
    assert ids.tolist() == [i for text in texts for i in [*tokenizer.encode(text), tokenizer.end_of_text_id]]


@pytest.mark.parametrize(("vocab_size", "dtype"), [(65_536, np.uint16), (65_537, np.uint32)])
def test_ids_fit_their_type(vocab_size: int, dtype: type) -> None:
    pairs = (bytes([high, low]) for high in range(256) for low in range(256))
    vocabulary = [END_OF_TEXT.encode(), *VOCABULARY[2:258], *pairs][:vocab_size]
    tokenizer = Tokenizer(vocabulary, [END_OF_TEXT])
    ids = tokenizer.encode_documents([vocabulary[-1].decode("latin-1")])
    assert ids.dtype == tokenizer.token_dtype == dtype
    assert tokenizer.decode(ids[:-1]) == vocabulary[-1].decode("latin-1")


def test_special_tokens_decode_to_their_text_and_broken_bytes_to_the_replacement_character(
    tokenizer: Tokenizer,
) -> None:
    assert tokenizer.decode([0, VOCABULARY.index(b"\xf0"), VOCABULARY.index(b"a")]) == END_OF_TEXT + "\ufffda"
    assert tokenizer.decode_bytes(np.array([VOCABULARY.index(b"\xf0")])) == b"\xf0"


@pytest.mark.parametrize("token_id", [-1, 600])
def test_an_id_outside_the_vocabulary_is_refused(tokenizer: Tokenizer, token_id: int) -> None:
    with pytest.raises(DataError, match=f"token id {token_id} .* ids 0 to 599"):
        tokenizer.decode([5, token_id])


def test_streaming_yields_whole_characters_only(tokenizer: Tokenizer) -> None:
    decoder = StreamingDecoder(tokenizer)
    ids = [VOCABULARY.index(bytes([byte])) for byte in "é🙂".encode()]
    assert [decoder.push(token_id) for token_id in ids] == ["", "é", "", "", "", "🙂"]
    assert decoder.flush() == ""


@given(ids=st.lists(st.integers(0, 599) | st.integers(2, 257), max_size=20))
def test_streaming_adds_up_to_decode(ids: list[int], tokenizer: Tokenizer) -> None:
    decoder = StreamingDecoder(tokenizer)
    pieces = [decoder.push(token_id) for token_id in ids]
    assert "".join(pieces) + decoder.flush() == tokenizer.decode(ids)


def test_file_round_trip(tmp_path: Path) -> None:
    path = tmp_path / "vocab.json"
    Tokenizer(VOCABULARY, SPECIAL_TOKENS).save(path)
    for loaded in (Tokenizer.load(path), Tokenizer.load(str(path), SPECIAL_TOKENS)):
        assert (loaded.vocabulary, loaded.special_tokens, loaded.encoding) == (
            VOCABULARY,
            SPECIAL_TOKENS,
            "bpe",
        )
    theirs = bitty.Tokenizer(file_path=path, special_tokens=[token.encode() for token in SPECIAL_TOKENS])
    assert Tokenizer.load(path, encoding="bitty").encode(SOURCE[:3000]) == theirs.encoder(SOURCE[:3000])


def test_a_file_that_does_not_fit_is_refused_by_name(tmp_path: Path) -> None:
    path = tmp_path / "vocab.json"
    Tokenizer(VOCABULARY, SPECIAL_TOKENS).save(path)
    with pytest.raises(DataError, match=r"vocab\.json: entry 0 is .*, not the special token '<s>'"):
        Tokenizer.load(path, ["<s>"])
    with pytest.raises(DataError, match=r"vocab\.json: entry 1 is b'<\|pad\|>', not b'\\x00'"):
        Tokenizer.load(path, [END_OF_TEXT])
    path.write_text(json.dumps({"0": "b'in'"}))
    with pytest.raises(DataError, match=r"vocab\.json: entry 1 is missing"):
        Tokenizer.load(path)


def test_what_is_no_tokenizer_is_refused() -> None:
    with pytest.raises(DataError, match=r"the vocabulary: entry 0 is .*, not the special token '<s>'"):
        Tokenizer(VOCABULARY, ["<s>"])
    with pytest.raises(DataError, match=r'encoding is \'greedy\'; it must be "bpe" or "bitty"'):
        Tokenizer(VOCABULARY, SPECIAL_TOKENS, "greedy")  # type: ignore[arg-type]


def test_the_hash_is_of_vocabulary_special_tokens_and_encoding_and_not_of_the_file(tmp_path: Path) -> None:
    tokenizer = Tokenizer(VOCABULARY, SPECIAL_TOKENS)
    path = tmp_path / "vocab.json"
    tokenizer.save(path)
    path.write_text(json.dumps(dict(reversed(json.loads(path.read_text()).items()))))
    assert Tokenizer.load(path).hash() == tokenizer.hash()

    merged = VOCABULARY[258:]
    others = [
        Tokenizer(VOCABULARY, SPECIAL_TOKENS, "bitty"),
        Tokenizer(VOCABULARY[:-1], SPECIAL_TOKENS),
        Tokenizer(VOCABULARY[1:], SPECIAL_TOKENS[1:]),
        Tokenizer([*VOCABULARY[:258], *merged[1:], merged[0]], SPECIAL_TOKENS),
    ]
    assert len({tokenizer.hash(), *(other.hash() for other in others)}) == 5


def test_the_hash_is_the_same_in_every_version() -> None:
    # A changed value would make every prepared corpus and checkpoint look like another tokenizer's.
    tokenizer = Tokenizer([END_OF_TEXT.encode(), *VOCABULARY[2:258], b"in"], [END_OF_TEXT])
    assert tokenizer.hash() == "eccd9df642a404c4dc4d49d8b2460d3d5853223f58bcbf3164407e725c719702"


def test_a_tokenizer_can_be_sent_to_another_process(tokenizer: Tokenizer) -> None:
    assert pickle.loads(pickle.dumps(tokenizer)).encode(SOURCE) == tokenizer.encode(SOURCE)
