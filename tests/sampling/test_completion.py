"""Text as it is shown: stop strings across pieces, half characters, and why a text ended."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bittygpt.sampling.completion import Completion, StopScanner
from bittygpt.sampling.generate import NewToken
from bittygpt.tokenizer.tokenizer import StreamingDecoder, Tokenizer

END = 0
TOKENIZER = Tokenizer([b"<|endoftext|>", *(bytes([b]) for b in range(256))], ["<|endoftext|>"])


def ids_of(text):
    return [byte + 1 for byte in text.encode()]


def completion(*stop):
    return Completion(StreamingDecoder(TOKENIZER), stop, END)


def push_all(target, ids):
    return [target.push(NewToken(token_id, -1.0)) for token_id in ids]


@given(st.text("ab", max_size=20), st.lists(st.text("ab", min_size=1, max_size=4), min_size=1, max_size=3))
def test_one_character_at_a_time_ends_where_the_first_stop_string_completes(text, stops):
    scanner, shown = StopScanner(stops), ""
    for length, character in enumerate(text, 1):
        shown += scanner.push(character)
        complete = [stop for stop in stops if text[:length].endswith(stop)]
        assert scanner.found == bool(complete)
        if complete:
            assert shown == text[: length - max(len(stop) for stop in complete)]
            return
        unclear = max(n for stop in stops for n in range(len(stop)) if text[:length].endswith(stop[:n]))
        assert shown == text[: length - unclear]  # all is shown at once that cannot become a stop string
    assert shown + scanner.flush() == text


@given(st.lists(st.text("ab", max_size=3), max_size=8), st.text("ab", min_size=1, max_size=4))
def test_whatever_the_pieces_the_text_ends_before_the_stop_string(pieces, stop):
    scanner = StopScanner([stop])
    shown = "".join([scanner.push(piece) for piece in pieces]) + scanner.flush()
    assert shown == "".join(pieces).split(stop)[0]
    assert scanner.found == (stop in "".join(pieces))


def test_no_half_characters_are_shown():
    text = "é 日本 🙂!"
    target = completion()
    shown = push_all(target, ids_of(text))
    assert "".join(shown) == text
    assert all("\N{REPLACEMENT CHARACTER}" not in piece for piece in shown)


def test_a_character_cut_off_at_the_end_is_a_replacement_character():
    target = completion()
    push_all(target, ids_of("a🙂")[:-1])
    assert target.text == "a"
    assert target.finish("length") == "\N{REPLACEMENT CHARACTER}"
    assert target.text == TOKENIZER.decode(target.token_ids)


def test_stop_string_over_several_tokens():
    target = completion("THE END", "\n\n")
    shown = push_all(target, ids_of("so THE ENTRY, THE END. More"))
    assert "".join(shown) == target.text == "so THE ENTRY, "
    assert target.finish_reason == "stop"
    assert TOKENIZER.decode(target.token_ids) == "so THE ENTRY, THE END"
    assert len(target.logprobs) == len(target.token_ids)
    assert target.finish("length") == ""
    assert target.finish_reason == "stop"


def test_a_stop_string_of_several_bytes_per_character():
    target = completion("🙂")
    assert "".join(push_all(target, ids_of("a🙃b🙂c"))) == "a🙃b"
    assert target.finish_reason == "stop"


@pytest.mark.parametrize("reason", ["eos", "length"])
def test_what_was_held_back_is_shown_at_the_end(reason):
    target = completion("abcdef")
    assert "".join(push_all(target, ids_of("xabc"))) == "x"
    shown = target.push(NewToken(END, -1.0)) if reason == "eos" else target.finish("length")
    assert shown == "abc"
    assert target.text == "xabc"
    assert target.finish_reason == reason
    assert END not in target.token_ids


def test_a_stop_string_that_only_the_last_half_character_completes():
    target = completion("a\N{REPLACEMENT CHARACTER}")
    push_all(target, ids_of("xa🙂")[:-1])
    assert target.finish("length") == ""
    assert target.text == "x"
    assert target.finish_reason == "stop"


def test_a_finished_text_takes_no_more():
    target = completion()
    push_all(target, [*ids_of("a"), END, *ids_of("b")])
    assert target.text == "a"
    assert target.finish_reason == "eos"
