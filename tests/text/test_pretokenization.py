"""Words are cut as bitty-tokenizer cuts them."""

import pytest
from bitty.train import GPT_2_PATTERN as BITTYS_PATTERN

from bittygpt.text.pretokenization import GPT_2_PATTERN, WORD, well_formed


def test_the_pattern_is_bittys() -> None:
    assert GPT_2_PATTERN == BITTYS_PATTERN
    assert WORD.pattern == BITTYS_PATTERN


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("plain, naïve, 中文 🙂", "plain, naïve, 中文 🙂"),
        ("\ud83d\ude42", "🙂"),
        ("a\ud83d b", "a\ufffd b"),
        ("a\ude42\ud83d", "a\ufffd\ufffd"),
        ("\ufeffmark", "\ufeffmark"),
        ("\ufeffmark\ud83d", "\ufeffmark\ufffd"),
    ],
)
def test_lone_surrogates_become_the_replacement_character(text: str, expected: str) -> None:
    assert well_formed(text) == expected
