"""Sources and documents: separators, formats, broken records, and the choice of the validation documents."""

import gzip
import json

import pytest

from bittygpt.data import corpus
from bittygpt.data.corpus import (
    ReadOptions,
    Source,
    find_sources,
    read_documents,
    sample_bytes,
    split_off_validation,
)
from bittygpt.errors import DataError

END = "<|endoftext|>"
OPTIONS = ReadOptions(END, "text", skip_bad_records=False)


def documents(path, options=OPTIONS):
    return list(read_documents([Source(str(path), path)], options))


def quiet(*_):
    pass


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
def test_text_is_cut_at_separators_and_nothing_is_stripped(tmp_path, text, expected):
    path = tmp_path / "a.txt"
    path.write_bytes(text.encode())
    assert documents(path) == expected


@pytest.mark.parametrize("read_size", [1, 2, 3, 7, 64])
def test_no_read_cuts_a_character_or_a_separator(tmp_path, monkeypatch, read_size):
    monkeypatch.setattr(corpus, "READ_SIZE", read_size)
    expected = ["naïve 🦉 text", "x", "日本語" * 5, "end"]
    path = tmp_path / "a.txt"
    path.write_bytes(END.join(expected).encode())
    assert documents(path) == expected


def test_jsonl_and_gzip(tmp_path):
    lines = [{"text": "a\nb"}, {"text": ""}, {"text": "c", "more": 1}]
    path = tmp_path / "a.jsonl.gz"
    path.write_bytes(gzip.compress("\n\n".join(map(json.dumps, lines)).encode()))
    assert documents(path) == ["a\nb", "c"]


def test_bad_utf8_is_named_by_byte_or_skipped(tmp_path):
    path = tmp_path / "a.txt"
    path.write_bytes(b"good" + END.encode() + b"ab\xff" + END.encode() + b"also good")
    with pytest.raises(DataError, match=r"a\.txt: byte 19 is not UTF-8 .* data\.on_bad_record: skip"):
        documents(path)
    assert documents(path, ReadOptions(END, "text", True)) == ["good", "also good"]


@pytest.mark.parametrize("line", ['{"body": "x"}', '{"text": 3}', "[1]", "not json", '"text"'])
def test_bad_json_lines_are_named_or_skipped(tmp_path, line):
    path = tmp_path / "a.jsonl"
    path.write_text('{"text": "fine"}\n' + line + "\n")
    with pytest.raises(DataError, match=r"a\.jsonl:2: not a JSON object with a text under 'text'"):
        documents(path)
    assert documents(path, ReadOptions(END, "text", True)) == ["fine"]


def test_a_damaged_gzip_file_is_named(tmp_path):
    path = tmp_path / "a.txt.gz"
    path.write_bytes(gzip.compress(b"text" * 1000)[:-20])
    with pytest.raises(DataError, match="cannot be read"):
        documents(path)


def test_paths_globs_and_folders(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("b.txt", "a.txt", "deep/c.jsonl", "deep/ignored.pdf"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("x")
    assert [s.name for s in find_sources(["*.txt"], "data.train", quiet)] == ["a.txt", "b.txt"]
    assert [s.name for s in find_sources(["deep", "b.txt"], "data.train", quiet)] == ["deep/c.jsonl", "b.txt"]
    for entry, message in {
        "missing.txt": "data.train: there is no file missing.txt",
        "*.md": r"data.train: no file matches \*.md",
        "deep/ignored.pdf": "none of the formats",
        "builtin:poems": "the builtin corpus is builtin:stories",
    }.items():
        with pytest.raises(DataError, match=message):
            find_sources([entry], "data.train", quiet)


def test_validation_documents_are_chosen_by_their_own_hash():
    texts = [f"document {i}" for i in range(4000)]
    split = dict((text, name) for name, text in split_off_validation(iter(texts), 0.1))
    assert 300 < sum(name == "val" for name in split.values()) < 500
    fewer = dict((text, name) for name, text in split_off_validation(reversed(texts[::3]), 0.1))
    assert all(split[text] == name for text, name in fewer.items())
    more = dict((text, name) for name, text in split_off_validation(iter(texts), 0.2))
    assert all(more[text] == "val" for text, name in split.items() if name == "val")


def test_a_single_document_gives_its_tail():
    assert list(split_off_validation(iter(["é" * 90 + "z" * 10]), 0.1)) == [
        ("train", "é" * 90),
        ("val", "z" * 10),
    ]
    assert list(split_off_validation(iter(["whole"]), 0.0)) == [("train", "whole")]
    assert list(split_off_validation(iter([]), 0.1)) == []


def test_a_sample_for_the_vocabulary_is_spread_and_about_as_large_as_asked():
    texts = [f"{i:010}" for i in range(5000)]
    chosen = list(sample_bytes(iter(texts), 50_000, 10_000))
    assert 8_000 < 10 * len(chosen) < 12_000
    assert int(chosen[0]) < 100
    assert int(chosen[-1]) > 4900
