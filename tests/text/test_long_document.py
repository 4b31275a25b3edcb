"""A long document on disk: it comes back whole, in stretches that cut no word, from any of them on."""

import tempfile
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bittygpt.errors import DataError
from bittygpt.text import long_document
from bittygpt.text.documents import digest_of
from bittygpt.text.long_document import LongDocument
from bittygpt.text.pieces import Position
from bittygpt.tokenizer.pretokenization import WORD

BEGIN, END = Position(1, 70), Position(1, 99)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("spool")


def spooled(folder, data, sizes=(3,)):
    document, place = LongDocument(folder), 0
    while place < len(data):
        for size in sizes:
            document.append(data[place : place + size])
            place += size
    document.finish()
    return document


def stretches(document, begin=BEGIN, cut=None, characters=20, read=5):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(long_document, "STRETCH_CHARACTERS", characters)
        patch.setattr(long_document, "READ_SIZE", read)
        return list(document.stretches(begin, END, 7, "train", cut))


def test_it_knows_what_it_holds(folder):
    document = spooled(folder / "new", "naïve 🦉".encode(), [1])
    assert (document.characters, document.num_bytes, document.bad_byte) == (7, 11, None)
    assert document.digest == digest_of("naïve 🦉") == LongDocument.of("naïve 🦉", folder).digest
    assert not list((folder / "new").iterdir())


@given(
    text=st.text("ab1é中🦉.' \n\t\x1c\x85\u3000", min_size=1, max_size=100),
    characters=st.integers(1, 30),
    read=st.integers(1, 30),
    share=st.none() | st.floats(0, 1),
)
def test_the_stretches_are_the_document_and_cut_no_word(folder, text, characters, read, share):
    document = spooled(folder, text.encode())
    cut = None if share is None else int(len(text) * share)
    found = stretches(document, cut=cut, characters=characters, read=read)
    halves = {"train": text[:cut], "val": "" if cut is None else text[cut:]}
    for split, half in halves.items():
        parts = [stretch for stretch in found if stretch.split == split]
        assert "".join(part.text for part in parts) == half
        assert [part.is_last for part in parts] == [number == len(parts) - 1 for number in range(len(parts))]
    if cut is None:
        assert [word for part in found for word in WORD.findall(part.text)] == WORD.findall(text)
    assert found == sorted(found, key=lambda stretch: stretch.split)  # training first
    digests = {"train": digest_of(text), "val": 2**64 - 1 - digest_of(text)}
    assert all((stretch.digest, stretch.read) == (digests[stretch.split], 7) for stretch in found)
    assert (found[0].begin, found[-1].end) == (BEGIN, END)
    assert all(before.end == after.begin for before, after in pairwise(found))
    for number, stretch in enumerate(found):
        assert stretches(document, stretch.begin, cut, characters, read) == found[number:]


@pytest.mark.parametrize("characters", [20, 50])
def test_a_stretch_is_about_as_long_as_it_may_be_but_for_a_word_that_is_longer(folder, characters):
    text = "owl " * 100 + "x" * 300 + " owl" * 100
    lengths = [
        len(stretch.text) for stretch in stretches(LongDocument.of(text, folder), characters=characters)
    ]
    assert sum(length > characters + 5 for length in lengths) == 1
    assert sum(length > characters - 5 for length in lengths) >= len(lengths) - 3


@given(data=st.lists(st.sampled_from([b"a", "é🦉".encode(), b"\xff", b"\xf0\x9f", b"\xa6"]), max_size=8))
def test_the_first_bad_byte_is_the_one_that_a_decoder_names(folder, data):
    data, expected = b"".join(data), None
    try:
        data.decode()
    except UnicodeDecodeError as error:
        expected = error.start, error.reason
    for sizes in ([1], [2, 3], [100]):
        assert spooled(folder, data, sizes).bad_byte == expected


def test_a_folder_without_room_is_named(folder, monkeypatch):
    (folder / "file").write_text("")
    with pytest.raises(DataError, match=r"data\.dir: .*/file has no place for a long document \(.*exists"):
        LongDocument(folder / "file")
    monkeypatch.setattr(tempfile, "TemporaryFile", lambda **_: open("/dev/full", "wb"))
    for text in ("short", "long" * 100_000):
        with pytest.raises(DataError, match=r"data\.dir: .* has no place .* \(.*No space left"):
            LongDocument.of(text, folder)
