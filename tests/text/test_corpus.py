"""The corpus as a stream: the same documents wherever blocks end, from the beginning or from any piece on."""

import gzip
import json
from functools import partial

import pyarrow as arrow
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.strategies import sampled_from as one_of
from pyarrow import parquet

from bittygpt.errors import DataError
from bittygpt.text import blocks, long_document
from bittygpt.text.builtin.stories import story
from bittygpt.text.corpus import Corpus
from bittygpt.text.documents import ReadOptions, digest_of, documents_of, is_validation
from bittygpt.text.pieces import Block, Position
from bittygpt.text.sources import BUILTIN, Source

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


def flat(pieces, options):
    """Documents, stretches without their places, and the number of broken records."""
    found, skipped = [], 0
    for piece in pieces:
        if isinstance(piece, Block):
            texts, bad = documents_of(piece, options)
            found += texts
            skipped += bad
        else:
            found.append((piece.text, piece.split, piece.is_last, piece.digest))
    return found, skipped


@given(
    parts=st.lists(
        one_of([b"a", b" a ", "🦉".encode(), b"\n", b"\r\n", b"\0", b"\xff", b"owl owl "]), max_size=30
    ),
    separator=one_of(["\n", "a", "🦉", "aa", "\n\n", "🦉🦉"]),
    sizes=st.tuples(*[st.integers(1, 30)] * 4),
    fraction=one_of([0.0, 0.3]),
    name=one_of(["a.txt", "a.txt.gz", "a.txt.zst"]),
)
def test_any_text_can_be_gone_on_with_from_any_piece(
    tmp_path_factory, parts, separator, sizes, fraction, name
):
    folder, data = tmp_path_factory.getbasetemp(), b"".join(parts)
    pack = {"a.txt": bytes, "a.txt.gz": gzip.compress, "a.txt.zst": zstandard.ZstdCompressor().compress}
    (folder / name).write_bytes(pack[name](data))
    source = corpus(folder, name, fraction=fraction, separator=separator, skip=True)
    with pytest.MonkeyPatch.context() as patch:
        small(patch, *sizes)
        pieces = list(source.pieces(START))
        raw = [part for part in data.split(separator.encode()) if part]
        good = [part.decode() for part in raw if b"\xff" not in part]
        expected, skipped = flat(pieces, source.options)
        assert skipped == len(raw) - len(good)
        if fraction and len(good) == 1:
            cut = int(len(good[0]) * (1 - fraction))
            halves = [("train", good[0][:cut]), ("val", good[0][cut:])]
            assert documents(pieces, source.options) == [(split, half) for split, half in halves if half]
        else:
            assert [text for _, text in documents(pieces, source.options)] == good
        for number, piece in enumerate(pieces):
            done = flat(pieces[: number + 1], source.options)
            rest = flat(source.pieces(piece.end), source.options)
            assert (done[0] + rest[0], done[1] + rest[1]) == (expected, skipped)


@pytest.mark.parametrize("name", ["a.txt", "a.parquet"])
def test_broken_records_beside_a_single_document_are_counted_once(tmp_path, monkeypatch, name):
    small(monkeypatch)
    if name == "a.txt":
        (tmp_path / name).write_bytes(END.encode().join([b"\xff", b"owl " * 30, b"\xff"]))
    else:
        write(tmp_path, name, [None, "owl " * 30, None])
    source = corpus(tmp_path, name, fraction=0.1, skip=True)
    pieces = list(source.pieces(START))
    for number in range(len(pieces)):
        going_on = pieces[: number + 1] + list(source.pieces(pieces[number].end))
        assert flat(going_on, source.options) == flat(pieces, source.options)
    assert flat(pieces, source.options)[1] == 2


def test_validation_sources_can_be_gone_on_with(tmp_path, monkeypatch):
    small(monkeypatch)
    write(tmp_path, "a.txt", ["one", "two " * 60])
    write(tmp_path, "b.txt.gz", ["three", "four " * 60])
    source = corpus(tmp_path, "a.txt", val=["b.txt.gz", "a.txt"])
    pieces = list(source.pieces(START))
    for number, piece in enumerate(pieces):
        assert list(source.pieces(piece.end)) == pieces[number + 1 :]
        assert source.bytes_read(piece) <= source.total_bytes()
    splits = [(piece.begin.source, piece.split) for piece in pieces if not isinstance(piece, Block)]
    is_val = is_validation(digest_of("two " * 60), 0.0)
    assert set(splits) == {(0, "val" if is_val else "train"), (1, "val"), (2, "val")}


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
    is_val = partial(is_validation, fraction=0.5)
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


@pytest.mark.parametrize("fraction", [0.0, 0.1])
@pytest.mark.parametrize("name", ["a.txt.gz", "a.txt.zst", "a.jsonl.zst", "a.parquet", "a.parquet.gz"])
def test_a_damaged_file_is_named(tmp_path, name, fraction):
    path = tmp_path / write(tmp_path, name)
    for size in (path.stat().st_size - 1, path.stat().st_size // 2, 10):
        path.write_bytes(path.read_bytes()[:size])
        with pytest.raises(DataError, match=f"^{name} cannot be read: "):
            texts_of(corpus(tmp_path, name, fraction=fraction))


def test_a_document_keeps_its_split_when_others_come_or_go(tmp_path, monkeypatch):
    small(monkeypatch, long=1)
    texts = [f"document {i}" for i in range(300)]
    splits = []
    for some in (texts, texts[::-1], texts[::3]):
        source = corpus(tmp_path, write(tmp_path, "a.txt", some), fraction=0.2)
        splits.append({text: split for split, text in documents(source.pieces(START), source.options)})
    assert splits[0] == splits[1]
    assert splits[2].items() <= splits[0].items()
    assert 30 < sum(split == "val" for split in splits[0].values()) < 90
