"""The exported tokenizer against ours, id for id, on real text and random Unicode."""

import difflib
import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bittygpt.data.bpe_training import count_words, train_bpe
from bittygpt.data.tokenizer import Tokenizer
from bittygpt.export.hf_tokenizer import UnderivableError, byte_characters, derive_merges, tokenizer_files

tokenizers = pytest.importorskip("tokenizers")
SPECIAL = ["<|endoftext|>", "<|pad|>"]
SHAKESPEARE = Path(__file__).resolve().parents[3] / "shared/data/tinyshakespeare.txt"


@pytest.fixture(scope="module")
def text() -> str:
    return (SHAKESPEARE if SHAKESPEARE.exists() else Path(difflib.__file__)).read_text()[:200_000]


@pytest.fixture(scope="module")
def both(text):
    ours = Tokenizer(train_bpe(count_words([text], SPECIAL), 900, SPECIAL), SPECIAL)
    theirs = tokenizers.Tokenizer.from_str(json.dumps(tokenizer_files(ours, 64)["tokenizer.json"]))
    return ours, theirs


def test_ids_are_equal_on_real_text(both, text):
    ours, theirs = both
    ids = ours.encode(text)
    assert theirs.encode(text).ids == ids
    assert theirs.decode(ids) == text
    assert max(ids) > 600


@settings(max_examples=150, deadline=None)
@given(text=st.text())
def test_ids_are_equal_on_any_text(both, text):
    if any(0xE000 > ord(c) >= 0xD800 for c in text):
        return
    ours, theirs = both
    assert theirs.encode(text).ids == ours.encode(text)


def test_special_tokens_are_tokens_there_and_keep_their_ids(both):
    ours, theirs = both
    assert theirs.encode("<|pad|>a<|endoftext|>").ids == [1, *ours.encode("a"), 0]
    assert theirs.get_vocab_size() == ours.vocab_size


def test_byte_characters_are_gpt2s():
    characters = byte_characters()
    assert len(set(characters)) == 256
    assert (characters[ord(" ")], characters[ord("\n")], characters[ord("A")], characters[0xAD]) == (
        "Ġ",
        "Ċ",
        "A",
        "Ń",
    )


def test_merges_are_derived_and_edited_vocabularies_refused(both):
    ours, _ = both
    merges = derive_merges(ours)
    assert [left + right for left, right in merges] == ours.vocabulary[258:]
    edited = Tokenizer([*ours.vocabulary[:258], b"the"], SPECIAL)
    with pytest.raises(UnderivableError, match="token 258, b'the', is made of 3 earlier tokens"):
        derive_merges(edited)
