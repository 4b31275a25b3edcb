"""The exported tokenizer against ours, id for id, on real text and random Unicode."""

import difflib
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bittygpt.export.comparison import HARD_TEXTS
from bittygpt.export.huggingface.tokenizer import derive_merges, encode_with_special_tokens, tokenizer_files
from bittygpt.files import write_json
from bittygpt.tokenizer.bpe_training import train_bpe
from bittygpt.tokenizer.byte_level import UnderivableError
from bittygpt.tokenizer.tokenizer import Tokenizer
from tests.words import count_words

transformers = pytest.importorskip("transformers")
SPECIAL = ["<|endoftext|>", "<|pad|>", "<|pad|>ded"]
SHAKESPEARE = Path(__file__).resolve().parents[3] / "shared/data/tinyshakespeare.txt"


@pytest.fixture(scope="module")
def text() -> str:
    return (SHAKESPEARE if SHAKESPEARE.exists() else Path(difflib.__file__)).read_text("utf-8")[:200_000]


@pytest.fixture(scope="module")
def both(text, tmp_path_factory):
    ours = Tokenizer(train_bpe(count_words([text], SPECIAL), 900, SPECIAL), SPECIAL)
    folder = tmp_path_factory.mktemp("exported")
    for name, value in tokenizer_files(ours, 64).items():
        write_json(folder / name, value)
    write_json(folder / "config.json", {"model_type": "llama"})
    return ours, transformers.AutoTokenizer.from_pretrained(folder)


def their_ids(theirs, text):
    return theirs(text, add_special_tokens=False, verbose=False)["input_ids"]


def test_ids_are_equal_on_real_text(both, text):
    ours, theirs = both
    ids = ours.encode(text)
    assert their_ids(theirs, text) == ids
    assert theirs.decode(ids) == text
    assert max(ids) > 600


@pytest.mark.parametrize("hard", HARD_TEXTS)
def test_ids_are_equal_on_hard_texts(both, hard):
    ours, theirs = both
    expected = [] if not hard else [*ours.encode(hard)]
    if "<|endoftext|>" in hard:
        start, end = hard.split("<|endoftext|>")
        expected = [*ours.encode(start), 0, *ours.encode(end)]
    assert their_ids(theirs, hard) == expected
    assert theirs.decode(expected) == hard


@settings(max_examples=150)
@given(text=st.text())
def test_ids_are_equal_on_any_text(both, text):
    ours, theirs = (
        both  # hypothesis knows the constants of the program, and tries "<|endoftext|>" sooner or later
    )
    assert their_ids(theirs, text) == encode_with_special_tokens(ours, text)


@settings(max_examples=100)
@given(parts=st.lists(st.one_of(st.text(max_size=4), st.sampled_from([*SPECIAL, "<|pad|>d", "<|"]))))
def test_special_tokens_among_text_are_found_as_they_are_there(both, parts):
    ours, theirs = both
    text = "".join(parts)
    assert encode_with_special_tokens(ours, text) == their_ids(theirs, text)


def test_special_tokens_are_tokens_there_and_plain_text_here(both):
    ours, theirs = both
    assert their_ids(theirs, "<|pad|>a<|endoftext|>") == [1, *ours.encode("a"), 0]
    assert their_ids(theirs, "<|pad|>ded <|pad|>dad") == [2, *ours.encode(" "), 1, *ours.encode("dad")]
    assert min(ours.encode("<|pad|>a<|endoftext|>")) >= len(SPECIAL)
    assert theirs.bos_token_id == theirs.eos_token_id == theirs.pad_token_id == 0
    assert len(theirs) == ours.vocab_size


def test_a_vocabulary_without_special_tokens_has_no_text_to_look_for():
    plain = Tokenizer([bytes([value]) for value in range(256)], [])
    assert encode_with_special_tokens(plain, "<|endoftext|>") == list(b"<|endoftext|>")


def test_a_special_token_spelled_as_another_token_is_refused():
    special = ["<|endoftext|>", "\u0120"]  # the character that stands for a space in tokenizer.json
    colliding = Tokenizer([*(token.encode() for token in special), *map(bytes, zip(range(256)))], special)
    with pytest.raises(UnderivableError, match="special token 'Ġ'"):
        tokenizer_files(colliding, 64)


def test_merges_are_derived_and_edited_vocabularies_refused(both):
    ours, _ = both
    merges = derive_merges(ours)
    assert [left + right for left, right in merges] == ours.vocabulary[259:]
    edited = Tokenizer([*ours.vocabulary[:259], b"the"], SPECIAL)
    with pytest.raises(UnderivableError, match="token 259, b'the', is made of 3 earlier tokens"):
        derive_merges(edited)
