"""GPT-2's spelling of bytes, there and back; merges are derived elsewhere, with whole tokenizers."""

import pytest

from bittygpt.tokenizer.byte_level import BYTE_CHARACTERS, UnderivableError, merges_of, spell, unspell


def test_byte_characters_are_gpt2s():
    characters = BYTE_CHARACTERS
    assert len(set(characters)) == 256
    assert (characters[ord(" ")], characters[ord("\n")], characters[ord("A")], characters[0xAD]) == (
        "Ġ",
        "Ċ",
        "A",
        "Ń",
    )


def test_unspell_is_the_way_back():
    everything = bytes(range(256))
    assert unspell(spell(everything)) == everything
    with pytest.raises(KeyError):
        unspell("日")


def test_merges_by_hand():
    assert merges_of([b"x", b"ab", b"abc"], 1) == [(b"a", b"b"), (b"ab", b"c")]
    with pytest.raises(UnderivableError, match="token 0, b'abc', is made of 3 earlier tokens"):
        merges_of([b"abc"], 0)
