"""Packed files are read like plain ones, from any place, and a damaged one is named."""

import gzip
import random
from contextlib import nullcontext
from functools import partial

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from bittygpt.errors import DataError
from bittygpt.text.compression import open_text

TEXT = "".join(f"line {i}\n" for i in range(30_000)).encode()


def pack(path, data):
    if path.suffix == ".gz":
        path.write_bytes(gzip.compress(data[:1000]) + gzip.compress(data[1000:]))
    elif path.suffix == ".zst":
        compress = zstandard.ZstdCompressor().compress
        path.write_bytes(compress(data[:1000]) + compress(data[1000:]))
    else:
        path.write_bytes(data)
    return path


@pytest.fixture(params=["a.txt", "a.txt.gz", "a.txt.zst"])
def path(request, tmp_path):
    return pack(tmp_path / request.param, TEXT)


@pytest.mark.parametrize("offset", [0, 1, 999, 1000, 1001, len(TEXT) - 1, len(TEXT)])
@pytest.mark.parametrize("size", [7, 1 << 20])
def test_reading_begins_anywhere(path, offset, size):
    with open_text(path, "a", offset) as text:
        begin = text.stream.read(size)
        rest = text.stream.read(1 << 30)
        assert text.stream.read(1) == b""
        assert text.file.tell() == path.stat().st_size
    assert begin == TEXT[offset : offset + size]
    assert begin + rest == TEXT[offset:]


@pytest.mark.parametrize("suffix", [".gz", ".zst"])
@pytest.mark.parametrize("lost", [1, 4, 9, 100, 1500])
def test_a_file_that_is_cut_short_is_named(tmp_path, suffix, lost):
    path = pack(tmp_path / f"a.txt{suffix}", TEXT)
    path.write_bytes(path.read_bytes()[:-lost])
    with pytest.raises(DataError, match="the name cannot be read: "), open_text(path, "the name") as text:
        list(iter(partial(text.stream.read, 1 << 16), b""))


@pytest.mark.parametrize("suffix", [".gz", ".zst"])
def test_a_file_of_another_format_is_named(tmp_path, suffix):
    path = tmp_path / f"a.txt{suffix}"
    path.write_bytes(b"plain text")
    with pytest.raises(DataError, match="the name cannot be read: "), open_text(path, "the name") as text:
        text.stream.read(1)


def test_an_empty_file_is_an_empty_text(tmp_path):
    for suffix in ("", ".gz", ".zst"):
        (tmp_path / f"a.txt{suffix}").write_bytes(b"")
        with open_text(tmp_path / f"a.txt{suffix}", "a") as text:
            assert text.stream.read(1) == b""


@given(
    frames=st.lists(st.binary(max_size=40), min_size=1, max_size=4),
    offset=st.integers(0, 60),
    size=st.integers(1, 50),
    kept=st.floats(0, 1, exclude_max=True),
)
def test_any_frames_are_read_and_a_cut_within_one_is_found(tmp_path_factory, frames, offset, size, kept):
    path, data = tmp_path_factory.getbasetemp() / "frames.txt.zst", b"".join(frames)
    packed = [zstandard.ZstdCompressor().compress(frame) for frame in frames]
    path.write_bytes(b"".join(packed))
    with open_text(path, "a", offset) as text:
        assert b"".join(iter(partial(text.stream.read, size), b"")) == data[offset:]
    last = packed[-1][: int(kept * len(packed[-1]))]
    path.write_bytes(b"".join(packed[:-1]) + last)
    expected = pytest.raises(DataError, match="the last frame is cut short") if last else nullcontext()
    with expected, open_text(path, "a") as text:
        assert b"".join(iter(partial(text.stream.read, size), b"")) == b"".join(frames[:-1])


@pytest.mark.parametrize("suffix", ["", ".gz", ".zst"])
def test_a_file_that_is_gone_is_named(tmp_path, suffix):
    with (
        pytest.raises(DataError, match=r"the name cannot be read: .*No such file"),
        open_text(tmp_path / f"a.txt{suffix}", "the name"),
    ):
        pass


@pytest.mark.parametrize("suffix", [".gz", ".zst"])
def test_a_changed_byte_is_found(tmp_path, suffix):
    data = random.Random(0).randbytes(5000)
    pack = {".gz": gzip.compress, ".zst": zstandard.ZstdCompressor(write_checksum=True).compress}
    packed = bytearray(pack[suffix](data))
    packed[len(packed) // 2] ^= 1
    path = tmp_path / f"a.txt{suffix}"
    path.write_bytes(packed)
    with pytest.raises(DataError, match="the name cannot be read: "), open_text(path, "the name") as text:
        list(iter(partial(text.stream.read, 100), b""))
