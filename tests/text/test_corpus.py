"""The corpus as a stream: the same documents wherever blocks end, from the beginning or from any piece on."""

import gzip
import json

import pyarrow as arrow
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st
from pyarrow import parquet

from bittygpt.errors import DataError
from bittygpt.text import blocks, long_document
from bittygpt.text.corpus import Corpus
from bittygpt.text.documents import ReadOptions, digest_of, documents_of, validation_test
from bittygpt.text.long_document import LongDocument
from bittygpt.text.pieces import Block, Position
from bittygpt.text.sources import BUILTIN, Source
from bittygpt.text.stories import story

END = "<|endoftext|>"
START = Position()
TEXTS = [
    "naïve 🦉 text ",
    "x",
    "日本語 " * 5,
    "\r\n\0",
    " a  b ",
    "long " * 60,
    "y" * 90,
    "one two",
    END[:-1],
    "end",
] * 3


def corpus(folder, *names, val=(), fraction=0.0, separator=END, skip=False):
    train, held_out = (tuple(Source(n, folder / n) for n in group) for group in (names, val))
    return Corpus(train, held_out, fraction, ReadOptions(separator, "text", skip), folder)


def documents(pieces, options):
    """(split, text) of all documents, with the stretches of a long one put together; split None: its hash decides."""
    found, held = [], ""
    for piece in pieces:
        if isinstance(piece, Block):
            assert not held
            found += [(piece.split, text) for text in documents_of(piece, options)[0]]
            continue
        assert piece.is_first == (not held)
        held += piece.text
        if piece.is_last:
            found.append((piece.split, held))
            held = ""
    return found


def texts_of(folder_corpus, begin=START):
    return [text for _, text in documents(folder_corpus.pieces(begin), folder_corpus.options)]


def small(patch, read=16, block=40, long=150, stretch=30):
    patch.setattr(blocks, "READ_SIZE", read)
    patch.setattr(blocks, "BLOCK_BYTES", block)
    patch.setattr(blocks, "LONG_DOCUMENT", long)
    patch.setattr(blocks, "ROWS_AT_ONCE", 2)
    patch.setattr(blocks, "STORIES_AT_ONCE", 3)
    patch.setattr(long_document, "READ_SIZE", read)
    patch.setattr(long_document, "STRETCH_CHARACTERS", stretch)


def write(folder, name, texts=TEXTS):
    kind, *packed = name.split(".")[1:]
    path = folder / name
    if kind == "parquet":
        parquet.write_table(arrow.table({"text": texts, "n": range(len(texts))}), path, row_group_size=7)
        data = path.read_bytes()
    elif kind == "jsonl":
        data = "".join(json.dumps({"text": text}) + "\n" for text in texts).encode()
    else:
        data = END.join(texts).encode()
    pack = {"gz": gzip.compress, "zst": zstandard.ZstdCompressor().compress}
    path.write_bytes(pack[packed[0]](data) if packed else data)
    return name


NAMES = [f"a.{kind}{packed}" for kind in ("txt", "jsonl", "parquet") for packed in ("", ".gz", ".zst")]


@pytest.mark.parametrize("name", NAMES)
def test_every_format_gives_the_documents_from_any_piece_on(tmp_path, monkeypatch, name):
    small(monkeypatch)
    source = corpus(tmp_path, write(tmp_path, name))
    assert texts_of(source) == TEXTS
    pieces = list(source.pieces(Position()))
    assert len(pieces) > 3
    for number, piece in enumerate(pieces):
        rest = list(source.pieces(piece.end))
        assert documents(pieces[: number + 1], source.options)[:0] == []
        if isinstance(piece, Block) or piece.is_last:
            done = documents(pieces[: number + 1], source.options)
            assert done + documents(rest, source.options) == documents(pieces, source.options)
        else:
            assert rest[0].begin == piece.end
            assert [p.text for p in pieces[number + 1 :] if not isinstance(p, Block)] == [
                p.text for p in rest if not isinstance(p, Block)
            ]
    assert source.bytes_read(pieces[-1]) == source.total_bytes()


def test_the_builtin_corpus_can_begin_anywhere(tmp_path, monkeypatch):
    small(monkeypatch)
    source = Corpus((Source(BUILTIN, None, 10),), (), 0.0, ReadOptions(END, "text", False), tmp_path)
    stories = [story(0, i) for i in range(10)]
    assert texts_of(source) == stories
    assert texts_of(source, Position(0, 6)) == stories[6:]
    assert texts_of(source, Position(0, 7)) == stories[7:]


@given(
    text=st.text("ab\n", max_size=60),
    separator=st.sampled_from(["\n", "\n\n", "aa", "aba", "ab"]),
    sizes=st.tuples(*[st.integers(1, 20)] * 4),
)
def test_separators_are_those_of_a_split_wherever_blocks_end(tmp_path_factory, text, separator, sizes):
    folder = tmp_path_factory.mktemp("any")
    (folder / "a.txt").write_bytes(text.encode())
    with pytest.MonkeyPatch.context() as patch:
        small(patch, *sizes)
        found = texts_of(corpus(folder, "a.txt", separator=separator))
    assert found == [part for part in text.split(separator) if part]


@pytest.mark.parametrize("read", [1, 2, 3, 7, 64])
@pytest.mark.parametrize("long", [1, 20, 10_000])
def test_no_read_cuts_a_character_or_a_separator(tmp_path, monkeypatch, read, long):
    small(monkeypatch, read=read, long=long)
    assert texts_of(corpus(tmp_path, write(tmp_path, "a.txt"))) == TEXTS


def test_a_long_document_carries_the_digest_and_the_split_of_the_whole(tmp_path, monkeypatch):
    small(monkeypatch, long=100)
    texts = [f"{i} " + "owl " * 40 for i in range(50)]
    source = corpus(tmp_path, write(tmp_path, "a.txt", texts), fraction=0.5)
    pieces = [piece for piece in source.pieces(Position()) if not isinstance(piece, Block)]
    lasts = [piece for piece in pieces if piece.is_last]
    assert [piece.digest for piece in lasts] == [digest_of(text) for text in texts]
    is_val = validation_test(0.5)
    assert [piece.split for piece in lasts] == ["val" if is_val(digest_of(t)) else "train" for t in texts]
    assert all(len(piece.text) < 80 for piece in pieces)


def test_validation_sources_are_labelled_and_follow_the_training_sources(tmp_path, monkeypatch):
    small(monkeypatch)
    write(tmp_path, "a.txt", ["one", "two"])
    write(tmp_path, "b.jsonl", ["three", "long " * 60])
    source = corpus(tmp_path, "a.txt", val=["b.jsonl"])
    expected = [(None, "one"), (None, "two"), ("val", "three"), ("val", "long " * 60)]
    assert documents(source.pieces(Position()), source.options) == expected
    assert len(list(source.training_pieces())) == 1


@pytest.mark.parametrize("text", ["é" * 90 + "z" * 10, "owl " * 500, "🦉 " * 200, "ab"])
@pytest.mark.parametrize("long", [50, 10_000])
@pytest.mark.parametrize("name", ["a.txt", "a.jsonl", "a.txt.gz"])
def test_a_single_document_gives_its_tail(tmp_path, monkeypatch, text, long, name):
    small(monkeypatch, long=long)
    write(tmp_path, name, [text])
    (tmp_path / "empty.txt").write_text(END * 3)
    source = corpus(tmp_path, "empty.txt", name, fraction=0.1)
    cut = int(len(text) * 0.9)
    pieces = list(source.pieces(Position()))
    expected = [("train", text[:cut]), ("val", text[cut:])]
    assert documents(pieces, source.options) == expected
    for number, piece in enumerate(pieces[:-1]):
        assert [p for p in source.pieces(piece.end) if not isinstance(p, Block)] == pieces[number + 1 :]
    whole = corpus(tmp_path, name, fraction=0.0)
    assert texts_of(whole) == [text]


def test_nothing_at_all(tmp_path):
    (tmp_path / "a.txt").write_text("")
    assert texts_of(corpus(tmp_path, "a.txt", fraction=0.1)) == []


@pytest.mark.parametrize("long", [10, 10_000])
@pytest.mark.parametrize("others", [[b"good one"], [b"good one", b"good two"]])
def test_a_bad_document_is_named_by_its_byte_or_counted(tmp_path, monkeypatch, long, others):
    small(monkeypatch, long=long)
    bad = b"a" * 30 + b"\xff" + b"b" * 30
    (tmp_path / "a.txt").write_bytes(END.encode().join([others[0], bad, *others[1:]]))
    with pytest.raises(DataError, match=rf"a\.txt: byte {8 + 13 + 30} is not UTF-8"):
        [
            documents_of(p, s.options)
            for s in [corpus(tmp_path, "a.txt")]
            for p in s.pieces(Position())
            if isinstance(p, Block)
        ]
    for fraction in (0.0, 0.5):
        source = corpus(tmp_path, "a.txt", fraction=fraction, skip=True)
        pieces = list(source.pieces(Position()))
        found = documents(pieces, source.options)
        assert "".join(text for _, text in found) == b"".join(others).decode()
        assert sum(documents_of(p, source.options)[1] for p in pieces if isinstance(p, Block)) == 1


def test_line_and_row_numbers_hold_in_later_blocks(tmp_path, monkeypatch):
    small(monkeypatch)
    (tmp_path / "a.jsonl").write_text('{"text": "fine"}\n\n' * 20 + '{"text": 5}\n')
    with pytest.raises(DataError, match=r"a\.jsonl:41: not a JSON object"):
        texts_of(corpus(tmp_path, "a.jsonl"))
    write(tmp_path, "a.parquet", ["fine"] * 40 + [None])
    with pytest.raises(DataError, match=r"a\.parquet: row 40 has no text under 'text'"):
        texts_of(corpus(tmp_path, "a.parquet"))


def test_a_damaged_parquet_file_and_a_missing_column_are_named(tmp_path):
    (tmp_path / "a.parquet").write_bytes(b"PAR1 nonsense")
    with pytest.raises(DataError, match=r"a\.parquet cannot be read"):
        texts_of(corpus(tmp_path, "a.parquet"))
    parquet.write_table(arrow.table({"body": ["x"], "n": [1]}), tmp_path / "a.parquet")
    with pytest.raises(DataError, match=r"there is no column 'text' among body, n; set data\.text_key"):
        texts_of(corpus(tmp_path, "a.parquet"))


def test_a_long_document_knows_what_it_holds(tmp_path):
    document = LongDocument(tmp_path / "new")
    for byte in "naïve 🦉".encode():
        document.append(bytes([byte]))
    document.finish()
    assert (document.characters, document.num_bytes, document.bad_byte) == (7, 11, None)
    assert document.digest == digest_of("naïve 🦉")
    cut_short = LongDocument(tmp_path)
    cut_short.append(b"abc\xf0\x9f")
    cut_short.append(b"\xa6")
    cut_short.finish()
    assert cut_short.bad_byte is not None
    assert cut_short.bad_byte[0] == 3
    assert not list((tmp_path / "new").iterdir())
