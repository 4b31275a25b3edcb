"""From blocks to documents: broken records are named or counted; a document's hash decides its split."""

import json
from functools import partial

import pytest

from bittygpt.errors import DataError
from bittygpt.text.documents import ReadOptions, digest_of, documents_of, is_validation, new_digest
from bittygpt.text.pieces import Block, Position

END = "<|endoftext|>"
STRICT, LENIENT = (ReadOptions(END, "text", skip) for skip in (False, True))


def block(kind, content, offset=0, line=1):
    return Block(Position(0, offset, line), Position(1), 0, "name", kind, content)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("one", ["one"]),
        (f"one{END}two", ["one", "two"]),
        (f"{END}one{END}{END}two{END}", ["one", "two"]),
        ("", []),
        (f" a\n{END}\r\nb\0 ", [" a\n", "\r\nb\0 "]),
        ("<|endoftext|", ["<|endoftext|"]),
    ],
)
def test_text_is_cut_at_separators_and_nothing_is_stripped(text, expected):
    assert documents_of(block("txt", text.encode()), STRICT) == (expected, 0)


def test_bad_utf8_is_named_by_its_byte_in_the_file_or_skipped():
    data = b"good" + END.encode() + b"ab\xff" + END.encode() + b"also good" + END.encode() + b"\xf0\x9f"
    with pytest.raises(DataError, match=r"name: byte 1019 is not UTF-8 .* data\.on_bad_record: skip"):
        documents_of(block("txt", data, offset=1000), STRICT)
    assert documents_of(block("txt", data), LENIENT) == (["good", "also good"], 2)


def test_jsonl():
    lines = [{"text": "a\nb"}, {"text": ""}, {"text": "half \ud83d"}, {"text": "c", "more": 1}]
    data = "\n\n \n".join(map(json.dumps, lines)).encode()
    assert documents_of(block("jsonl", data), STRICT) == (["a\nb", "half \ufffd", "c"], 0)
    other = ReadOptions(END, "more", True)
    assert documents_of(block("jsonl", b'{"more": "x"}\r\n{"more": "y"}\n'), other) == (["x", "y"], 0)


@pytest.mark.parametrize(
    "line", [b'{"body": "x"}', b'{"text": 3}', b"[1]", b"not json", b'"text"', b"\xff", b"[" * 99999]
)
def test_bad_json_lines_are_named_or_counted(line):
    data = b'{"text": "fine"}\n' + line + b"\n"
    with pytest.raises(DataError, match=r"name:42: not a JSON object with a text under 'text'"):
        documents_of(block("jsonl", data, line=41), STRICT)
    assert documents_of(block("jsonl", data), LENIENT) == (["fine"], 1)


def test_rows_without_a_text_are_named_or_counted():
    rows = ["a", "", None, "b", None]
    with pytest.raises(DataError, match="name: row 72 has no text under 'text'"):
        documents_of(block("texts", rows, offset=70), STRICT)
    assert documents_of(block("texts", rows), LENIENT) == (["a", "b"], 2)


def test_validation_documents_are_chosen_by_their_own_hash():
    digests = [digest_of(f"document {i}") for i in range(4000)]
    tenth, fifth, none = (partial(is_validation, fraction=fraction) for fraction in (0.1, 0.2, 0.0))
    assert 300 < sum(map(tenth, digests)) < 500
    assert all(fifth(digest) for digest in digests if tenth(digest))
    assert not any(map(none, digests))


def test_a_digest_may_be_taken_in_pieces():
    pieces = new_digest()
    for piece in ("naïve ", "🦉"):
        pieces.update(piece.encode())
    assert int.from_bytes(pieces.digest(), "little") == digest_of("naïve 🦉")
