"""vocab.json is bitty-tokenizer's file, and a file that is none is refused by name, entry and remedy."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import bitty
import pytest

from bittygpt.errors import DataError
from bittygpt.tokenizer.vocabulary import (
    check_vocabulary,
    leading_special_tokens,
    read_vocabulary,
    write_vocabulary,
)

END_OF_TEXT = "<|endoftext|>"
BYTES = [bytes([value]) for value in range(256)]
MERGED = [b"in", b"\xe4\xb8", b"\\'", b"it's", b'"quoted"', b"'\"", b"\r\n\t", b"\x00\xff", b" the"]
VOCABULARY = [END_OF_TEXT.encode(), "<|päd|>".encode(), *BYTES, *MERGED]


def entries() -> dict[str, Any]:
    return {str(token_id): repr(token) for token_id, token in enumerate(VOCABULARY)}


def test_the_file_is_bittys_byte_for_byte(tmp_path: Path) -> None:
    bittys = bitty.Tokenizer(
        vocab={0: b""}, special_tokens=[END_OF_TEXT.encode()], save_path=tmp_path / "bittys.json"
    )
    bittys.vocabulary = dict(enumerate(VOCABULARY))
    bittys._save_vocab()

    write_vocabulary(tmp_path / "ours.json", VOCABULARY)

    assert (tmp_path / "ours.json").read_bytes() == (tmp_path / "bittys.json").read_bytes()
    assert read_vocabulary(tmp_path / "bittys.json") == VOCABULARY


def test_bitty_loads_our_file(tmp_path: Path) -> None:
    write_vocabulary(tmp_path / "vocab.json", VOCABULARY)
    bittys = bitty.Tokenizer(file_path=tmp_path / "vocab.json", special_tokens=[END_OF_TEXT.encode()])
    assert list(bittys.vocab.items()) == list(enumerate(VOCABULARY))


def test_writing_replaces_the_file_and_leaves_nothing_beside_it(tmp_path: Path) -> None:
    for vocabulary in (BYTES, VOCABULARY):
        write_vocabulary(tmp_path / "vocab.json", vocabulary)
    assert [path.name for path in tmp_path.iterdir()] == ["vocab.json"]
    assert read_vocabulary(tmp_path / "vocab.json") == VOCABULARY


def test_a_place_that_cannot_be_written_to_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match=r"file.vocab\.json: cannot be written .*choose a folder"):
        write_vocabulary(tmp_path / "file" / "vocab.json", VOCABULARY)


def test_an_entry_that_is_code_is_refused_and_not_run(tmp_path: Path) -> None:
    path = tmp_path / "vocab.json"
    ran = tmp_path / "ran"
    for code in (f"__import__('os').system('touch {ran}')", f"b'' + open({str(ran)!r}, 'wb').name.encode()"):
        path.write_text(json.dumps(entries() | {"300": code}))
        with pytest.raises(DataError):
            read_vocabulary(path)
        path.write_text(json.dumps(entries() | {"260": code}))
        with pytest.raises(
            DataError, match=r'vocab\.json: the value of "260" is not a bytes literal: .*; train'
        ):
            read_vocabulary(path)
    assert not ran.exists()


@pytest.mark.parametrize(
    "value",
    [
        "in",
        "'in'",
        "b'in' b'to'",
        "b'in' ",
        "b'in",
        "b'中'",
        r"b'\400'",
        r"b'\x4'",
        "b'a\n'",
        "rb'in'",
        "",
        5,
        None,
    ],
)
def test_an_entry_that_is_no_single_bytes_literal_is_refused(tmp_path: Path, value: object) -> None:
    path = tmp_path / "vocab.json"
    path.write_text(json.dumps(entries() | {"258": value}))
    with pytest.raises(DataError, match=r'vocab\.json: the value of "258" is not a bytes literal'):
        read_vocabulary(path)


def without(key: str) -> str:
    return json.dumps({name: value for name, value in entries().items() if name != key})


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "is not JSON"),
        ("[" * 100_000, "is not JSON"),
        ("\ud800", "is not JSON"),
        ('{"0": "b\'a\'", "0": "b\'b\'"}', r'is not JSON \(key "0" stands twice\)'),
        ("[]", "is not a JSON object"),
        (without("7"), r'keys of 266 entries must be "0" to "265", but "7" is missing'),
        (json.dumps({"1": "b'a'"}), r'but "0" is missing'),
        (json.dumps({"00": "b'a'"}), r'but "0" is missing'),
    ],
)
def test_a_file_of_another_form_is_refused(tmp_path: Path, content: str, message: str) -> None:
    path = tmp_path / "vocab.json"
    path.write_bytes(content.encode("utf-8", "surrogatepass"))
    with pytest.raises(DataError, match=rf"vocab\.json: .*{message}.*; train the vocabulary again"):
        read_vocabulary(path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"vocab\.json: cannot be read \(No such file or directory\); train"):
        read_vocabulary(tmp_path / "vocab.json")


def test_the_order_of_the_entries_in_the_file_does_not_matter(tmp_path: Path) -> None:
    path = tmp_path / "vocab.json"
    path.write_text(json.dumps(dict(reversed(entries().items()))))
    assert read_vocabulary(path) == VOCABULARY


def test_special_tokens_are_the_entries_in_front_of_the_bytes() -> None:
    assert leading_special_tokens(VOCABULARY) == [END_OF_TEXT, "<|päd|>"]
    assert leading_special_tokens(BYTES) == []


@pytest.mark.parametrize(
    ("vocabulary", "entry"),
    [([], "0 is missing"), ([b"ab"], "1 is missing"), ([b"ab", b"\xff\xfe", *BYTES], r"1 is b'\\xff\\xfe'")],
)
def test_a_vocabulary_without_bytes_has_no_special_tokens(vocabulary: list[bytes], entry: str) -> None:
    with pytest.raises(DataError, match=f"here: entry {entry}, but the 256 single bytes must follow"):
        leading_special_tokens(vocabulary, source="here")


def changed(change: Callable[[list[bytes]], object]) -> list[bytes]:
    vocabulary = list(VOCABULARY)
    change(vocabulary)
    return vocabulary


@pytest.mark.parametrize(
    ("vocabulary", "message"),
    [
        (changed(lambda v: v.pop(0)), r"entry 0 is b'<\|p.*, not the special token '<\|endoftext\|>'"),
        (changed(lambda v: v.insert(0, v.pop(1))), r"entry 0 is .*, not the special token"),
        (changed(lambda v: v.clear()), "entry 0 is missing, not the special token"),
        (changed(lambda v: v.insert(2, b"<s>")), r"entry 2 is b'<s>', not b'\\x00': the 256 single bytes"),
        (changed(lambda v: v.pop(2)), r"entry 2 is b'\\x01', not b'\\x00'"),
        (changed(lambda v: v.insert(50, v.pop(51))), "entry 50 is b'1', not b'0'"),
        (VOCABULARY[:100], "entry 100 is missing, not b'b'"),
        ([*VOCABULARY, b"in"], "entries 258 and 267 are both b'in'"),
        ([*VOCABULARY, b"a"], "entries 99 and 267 are both b'a'"),
        ([*VOCABULARY, END_OF_TEXT.encode()], "entries 0 and 267 are both"),
        ([*VOCABULARY, b""], "entry 267 is empty"),
    ],
)
def test_a_vocabulary_out_of_order_is_refused(vocabulary: list[bytes], message: str) -> None:
    check_vocabulary(VOCABULARY, [END_OF_TEXT, "<|päd|>"])
    with pytest.raises(DataError, match=f"here: {message}"):
        check_vocabulary(vocabulary, [END_OF_TEXT, "<|päd|>"], source="here")
