"""Both encoders against their definitions: a naive byte-pair encoder, and bitty-tokenizer itself."""

import argparse
from itertools import pairwise
from pathlib import Path

import bitty
import pytest
import regex
from bitty.train import GPT_2_PATTERN
from hypothesis import given
from hypothesis import strategies as st

from bittygpt.tokenizer import encoders
from bittygpt.tokenizer.bpe_training import train_bpe
from bittygpt.tokenizer.encoders import LeftToRightEncoder, RankOrderEncoder
from tests.words import count_words

END_OF_TEXT = "<|endoftext|>"
PYTHON_SOURCE = Path(argparse.__file__).read_text(encoding="utf-8")
RUNS = " aaaaaaaa aaaaa aaa abababab ababa abaab bbabba 中文中文 naïve naïve it's it's 's 's"

# The characters that decide where words are cut, and those of RUNS; no code point that one of the two regular
# expression engines may not know yet.
TEXTS = st.text("aabbaelortn   '_-.,0123½é中文🙂\u0301\n\r\t\u00a0\u2003\u3000\x00\x1c<|>", max_size=60)


@pytest.fixture(scope="module")
def vocabulary() -> list[bytes]:
    return train_bpe(count_words([PYTHON_SOURCE + RUNS * 40], [END_OF_TEXT]), 900, [END_OF_TEXT])


@pytest.fixture(scope="module")
def ids(vocabulary: list[bytes]) -> dict[bytes, int]:
    return {token: token_id for token_id, token in enumerate(vocabulary) if token_id > 0}


@pytest.fixture(scope="module")
def rank_order(ids: dict[bytes, int]) -> RankOrderEncoder:
    return RankOrderEncoder(ids)


@pytest.fixture(scope="module")
def left_to_right(ids: dict[bytes, int]) -> LeftToRightEncoder:
    return LeftToRightEncoder(ids)


@pytest.fixture(scope="module")
def bittys(vocabulary: list[bytes]) -> bitty.Tokenizer:
    return bitty.Tokenizer(vocab=dict(enumerate(vocabulary)), special_tokens=[END_OF_TEXT.encode()])


def encode_by_definition(text: str, ids: dict[bytes, int]) -> list[int]:
    """In each word, merges the pair with the lowest id, the leftmost of equals, until no pair has one."""
    encoded = []
    for word in regex.findall(GPT_2_PATTERN, text):
        tokens = [bytes([byte]) for byte in word.encode()]
        while True:
            merges = [
                (ids[left + right], i)
                for i, (left, right) in enumerate(pairwise(tokens))
                if left + right in ids
            ]
            if not merges:
                break
            _, i = min(merges)
            tokens[i : i + 2] = [tokens[i] + tokens[i + 1]]
        encoded += [ids[token] for token in tokens]
    return encoded


def test_rank_order_ids_of_source_text_are_those_of_the_definition(
    rank_order: RankOrderEncoder, ids: dict[bytes, int]
) -> None:
    text = PYTHON_SOURCE[:20_000] + RUNS
    assert rank_order.encode(text) == encode_by_definition(text, ids)


@given(text=TEXTS)
def test_rank_order_ids_of_any_text_are_those_of_the_definition(
    text: str, rank_order: RankOrderEncoder, ids: dict[bytes, int]
) -> None:
    assert rank_order.encode(text) == encode_by_definition(text, ids)


def test_left_to_right_ids_of_source_text_are_bittys_and_not_those_of_the_merges(
    left_to_right: LeftToRightEncoder, rank_order: RankOrderEncoder, bittys: bitty.Tokenizer
) -> None:
    text = PYTHON_SOURCE[:40_000] + RUNS
    assert left_to_right.encode(text) == bittys.encoder(text)
    assert left_to_right.encode(text) != rank_order.encode(text)


@given(text=TEXTS)
def test_left_to_right_ids_of_any_text_are_bittys(
    text: str, left_to_right: LeftToRightEncoder, bittys: bitty.Tokenizer
) -> None:
    assert left_to_right.encode(text) == bittys.encoder(text)


def test_the_cache_stays_within_its_bounds_and_changes_no_id(
    ids: dict[bytes, int], bittys: bitty.Tokenizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(encoders, "_CACHED_WORDS", 3)
    monkeypatch.setattr(encoders, "_LONGEST_CACHED_WORD", 5)
    encoder = LeftToRightEncoder(ids)
    text = PYTHON_SOURCE[:3_000] + " a_word _longer than five"
    assert encoder.encode(text) == bittys.encoder(text)
    assert 0 < len(encoder._cache) <= 3
    assert all(len(word) <= 5 for word in encoder._cache)


@pytest.mark.parametrize("encoder_class", [RankOrderEncoder, LeftToRightEncoder])
def test_white_space_beyond_a_million_characters_is_cut_like_any_other(
    encoder_class: type[RankOrderEncoder] | type[LeftToRightEncoder],
) -> None:
    space, newline, letter, spaces, space_and_letter = range(5)
    encoder = encoder_class({b" ": 0, b"\n": 1, b"a": 2, b"  ": 3, b" a": 4})
    run = 1_100_001
    encoded = encoder.encode(" " * run + "a" + "\n" * run + "a" + " " * run)
    assert encoded == (
        [spaces] * 550_000 + [space_and_letter] + [newline] * run + [letter] + [spaces] * 550_000 + [space]
    )


@given(
    texts=st.lists(
        st.one_of(
            TEXTS,
            st.text("ab  \n\t\u00a0\u3000\U0010fffe\U0010ffff\x1f'", max_size=20),
            st.text(
                "a\x85\u1680\u2000\u200a\u200b\u2028\u2029\u202f\u205f\u3000\u3001\x1c\ud83d", max_size=20
            ),
        )
    )
)
def test_many_documents_in_one_call_get_the_ids_of_each(
    texts: list[str], rank_order: RankOrderEncoder, left_to_right: LeftToRightEncoder
) -> None:
    for encoder in (rank_order, left_to_right):
        expected = [token_id for text in texts for token_id in [*encoder.encode(text), 0]]
        assert encoder.encode_documents(texts, 0).tolist() == expected


def test_a_document_that_is_white_space_in_the_end_takes_no_longer_than_another(
    rank_order: RankOrderEncoder,
) -> None:
    text = "a" + " " * 3_000_000  # with a pattern that goes back, some hours
    assert len(rank_order.encode_documents([text, "b"], 0)) > 3
