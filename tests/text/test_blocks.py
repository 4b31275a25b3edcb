"""Blocks: they follow each other without a gap, end behind a document, and say where they are in the file."""

import gzip
from itertools import pairwise

import pyarrow as arrow
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyarrow import parquet

from bittygpt.errors import DataError
from bittygpt.text import blocks
from bittygpt.text.blocks import read_source
from bittygpt.text.builtin.stories import story
from bittygpt.text.documents import ReadOptions, digest_of
from bittygpt.text.pieces import Block, Position
from bittygpt.text.sources import BUILTIN, Source

START = Position()
SIZES = st.tuples(*[st.integers(1, 20)] * 3)


def small(patch, read, block, long):
    for name, value in {"READ_SIZE": read, "BLOCK_BYTES": block, "LONG_DOCUMENT": long}.items():
        patch.setattr(blocks, name, value)
    patch.setattr(blocks, "ROWS_AT_ONCE", 2)
    patch.setattr(blocks, "STORIES_AT_ONCE", 3)


def read_all(path, begin=START, separator="\n\n", sizes=(3, 5, 10_000)):
    """(begin, end, read, Block or LongDocument) of all that is found."""
    with pytest.MonkeyPatch.context() as patch:
        small(patch, *sizes)
        options = ReadOptions(separator, "text", False)
        found = list(read_source(Source("the name", path), begin, options, path.parent))
    found = [(it.begin, it.end, it.read, it) if isinstance(it, Block) else (*it[1:], it[0]) for it in found]
    assert not found or found[0][0] == begin
    assert all(before[1] == after[0] and before[2] <= after[2] for before, after in pairwise(found))
    assert not found or found[-1][2] == path.stat().st_size
    return found


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("blocks")


@given(
    text=st.text("a\n🦉", max_size=60),
    separator=st.sampled_from(["\n", "\n\n", "aa", "a\na", "🦉🦉", "\n🦉"]),
    sizes=SIZES,
)
def test_a_text_is_cut_behind_separators_and_what_is_long_depends_on_its_length_alone(
    folder, text, separator, sizes
):
    path, data, sep = folder / "a.txt", text.encode(), separator.encode()
    path.write_bytes(data)
    found = read_all(path, separator=separator, sizes=sizes)
    assert (found[-1][1].offset if found else 0) == len(data)
    long = []
    for begin, end, _, it in found:
        part = data[begin.offset : end.offset]
        assert part.endswith(sep) or end.offset == len(data)
        if isinstance(it, Block):
            assert (it.kind, it.content) == ("txt", part)
            assert all(len(document) < sizes[2] for document in part.split(sep))
        else:
            long.append(part.removesuffix(sep))
            assert it.digest == digest_of(long[-1].decode())
    assert long == [part for part in data.split(sep) if len(part) >= sizes[2]]


def test_a_block_is_about_as_large_as_asked(folder):
    (folder / "a.txt").write_text("12345678\n\n" * 100)
    found = read_all(folder / "a.txt", sizes=(7, 50, 10_000))
    assert {len(it.content) for *_, it in found} == {50}


@given(lines=st.lists(st.text("ab 🦉\r", max_size=20), max_size=10), sizes=SIZES, number=st.integers(0, 10))
def test_lines_are_kept_whole_and_numbered(folder, lines, sizes, number):
    path, data = folder / "a.jsonl", "\n".join(lines).encode()
    path.write_bytes(data)
    found = read_all(path, sizes=sizes)
    assert b"".join(it.content for *_, it in found) == data
    for begin, end, _, it in found:
        assert (it.kind, it.content) == ("jsonl", data[begin.offset : end.offset])
        assert begin.line == data[: begin.offset].count(b"\n") + 1
        assert it.content.endswith(b"\n") or end.offset == len(data)
    for _, end, _, _ in found[number : number + 1]:
        rest = read_all(path, end, sizes=sizes)
        assert b"".join(it.content for *_, it in rest) == data[end.offset :]


@pytest.mark.parametrize("rows_in_group", [1, 3, 7, 100])
@pytest.mark.parametrize("block", [1, 20, 10_000])
@pytest.mark.parametrize("packed", ["", ".gz"])
def test_rows_can_be_read_from_any_on(tmp_path, rows_in_group, block, packed):
    texts = [None if i % 9 == 4 else "owl " * (i % 5) for i in range(23)]
    path = tmp_path / f"a.parquet{packed}"
    parquet.write_table(arrow.table({"text": texts, "n": range(23)}), path, row_group_size=rows_in_group)
    if packed:
        path.write_bytes(gzip.compress(path.read_bytes()))
    for row in range(24):
        found = read_all(path, Position(0, row), sizes=(1000, block, 1))
        assert [text for *_, it in found for text in it.content] == texts[row:]
        assert all(end.offset - begin.offset == len(it.content) for begin, end, _, it in found)
        assert all(it.kind == "texts" for *_, it in found)


def test_rows_that_are_no_text_are_none(tmp_path):
    path = tmp_path / "a.parquet"
    texts = arrow.array([None, b"\xff", b"a", "🦉".encode()]).view(arrow.string())
    for column, expected in {
        "text": [None, None, "a", "🦉"],
        "n": [None] * 4,
        "bytes": [None] * 4,
    }.items():
        table = {"text": texts, "n": range(4), "bytes": [b"a"] * 4}
        parquet.write_table(arrow.table({"more": range(4), "text": table[column]}), path)
        assert [text for *_, it in read_all(path) for text in it.content] == expected
    parquet.write_table(arrow.table({"text": arrow.array([], arrow.string())}), path)
    assert read_all(path) == []


def test_a_damaged_parquet_file_is_named(tmp_path):
    path = tmp_path / "a.parquet"
    parquet.write_table(arrow.table({"text": [f"owl {i}" for i in range(200)]}), path, row_group_size=50)
    good = path.read_bytes()
    name = good.index(b"text", good.index(b"schema"))
    damaged = [
        b"",
        b"PAR1 nonsense",
        good[: len(good) // 2],
        good[100:],
        good[:name] + b"t\xb0xt" + good[name + 4 :],
    ]
    for data in damaged:
        path.write_bytes(data)
        with pytest.raises(DataError, match="the name cannot be read: "):
            read_all(path)
    path.unlink()
    with pytest.raises(DataError, match=r"the name cannot be read: .*No such file"):
        read_all(path)
    packed = tmp_path / "a.parquet.gz"
    packed.write_bytes(gzip.compress(good)[:-30])
    with pytest.raises(DataError, match=r"the name cannot be read: .*; fetch or pack it anew"):
        read_all(packed)


def test_the_builtin_corpus_can_begin_anywhere(tmp_path, monkeypatch):
    small(monkeypatch, 1, 1, 1)
    source = Source(BUILTIN, None, 10)
    for first in range(11):
        found = list(read_source(source, Position(2, first), ReadOptions("x", "text", False), tmp_path))
        assert [text for it in found for text in it.content] == [story(0, i) for i in range(first, 10)]
        assert all(before.end == after.begin for before, after in pairwise(found))
        assert not found or (found[-1].end, found[-1].read) == (Position(2, 10), source.size())
