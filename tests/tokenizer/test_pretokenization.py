"""The pattern is bitty-tokenizer's; text may be cut where it says so; lone surrogates do not survive."""

import re

import bitty.train
import pytest
import regex
from hypothesis import given
from hypothesis import strategies as st

from bittygpt.tokenizer import pretokenization
from bittygpt.tokenizer.pretokenization import GPT_2_PATTERN, WORD, chunks, safe_cut, well_formed

TEXTS = st.text("aab'st1½é中🦉.,_  \n\r\t\x0b\x0c\x1c\x1f\x85\u00a0\u2003\u2028\u3000\u200b", max_size=80)


def test_the_pattern_is_bittys():
    assert bitty.train.GPT_2_PATTERN == GPT_2_PATTERN


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("plain é 🙂", "plain é 🙂"),
        ("\ud83d\ude42", "🙂"),
        ("half \ud83d of it", "half \ufffd of it"),
        ("\ude42\ud83d", "\ufffd\ufffd"),
        ("\ufeffmark", "\ufeffmark"),
        ("\ufeffmark\ud83d", "\ufeffmark\ufffd"),
    ],
)
def test_lone_surrogates_become_replacement_characters_and_pairs_are_joined(text, expected):
    assert well_formed(text) == expected


@given(text=TEXTS)
def test_the_words_of_the_chunks_are_the_words_of_the_text(text):
    parts = chunks(text)
    assert "".join(parts) == text
    assert [word for part in parts for word in WORD.findall(part)] == WORD.findall(text)


@given(text=TEXTS, near_the_end=st.integers(1, 100))
def test_a_safe_cut_changes_no_word(text, near_the_end):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pretokenization, "_NEAR_THE_END", near_the_end)
        cut = safe_cut(text)
    assert cut == safe_cut(text)  # the last place wherever the search begins
    assert WORD.findall(text[:cut]) + WORD.findall(text[cut:]) == WORD.findall(text)


def test_a_cut_is_found_far_from_the_end_too():
    assert safe_cut("one two" + "x" * 10_000) == 3
    assert safe_cut("x" * 10_000) == 0
    assert safe_cut("") == 0
    assert safe_cut("one  two\u00a0 three") == 3


def test_pythons_white_space_is_the_patterns_but_for_four_separators():
    ours, theirs = re.compile(r"\s"), regex.compile(r"\s")
    codes = [code for code in range(0x110000) if not 0xD800 <= code < 0xE000]
    different = [code for code in codes if bool(ours.match(chr(code))) != bool(theirs.match(chr(code)))]
    assert different == [0x1C, 0x1D, 0x1E, 0x1F]
