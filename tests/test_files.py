"""The atomic writer: whole or not at all."""

import errno

import pytest

from bittygpt.files import atomic_file, sha256_of, write_json, write_text


def test_an_error_leaves_the_old_file_and_no_other(tmp_path):
    path = tmp_path / "a.txt"
    write_text(path, "old")
    with pytest.raises(ZeroDivisionError), atomic_file(path) as file:
        file.write(b"half" * (1 // 0))
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_write_that_fails_names_its_file(tmp_path):
    with pytest.raises(OSError, match="No space left") as caught, atomic_file(tmp_path / "a.txt"):
        raise OSError(errno.ENOSPC, "No space left on device")
    assert caught.value.filename == str(tmp_path / "a.txt")


def test_folders_are_made_and_text_is_utf8(tmp_path):
    path = tmp_path / "deep" / "b.json"
    write_json(path, {"é": 1})
    write_text(path, "é")
    assert path.read_bytes() == b"\xc3\xa9"


def test_sha256_is_the_known_one(tmp_path):
    path = tmp_path / "abc"
    path.write_bytes(b"abc")
    assert sha256_of(path) == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
