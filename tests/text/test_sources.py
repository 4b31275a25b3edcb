"""Sources: paths, globs and folders, their formats, and what is said of those that are not there."""

import os

import pytest

from bittygpt.errors import DataError, SourceMissingError
from bittygpt.text.sources import BUILTIN, COMPRESSION_RATIO, SUFFIXES, Source, find_sources


@pytest.fixture(autouse=True)
def _here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def names(*entries):
    return [source.name for source in find_sources(entries, "data.train", quiet)]


def quiet(*_):
    pass


def test_paths_globs_and_folders(tmp_path):
    for name in ("b.txt", "a.txt", "deep/c.jsonl", "deep/ignored.pdf"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("x")
    (tmp_path / "empty").mkdir()
    assert names("*.txt") == ["a.txt", "b.txt"]
    assert names("deep", "b.txt") == ["deep/c.jsonl", "b.txt"]
    assert names("**/*.*l", "./a.txt", str(tmp_path / "b.txt")) == [
        "deep/c.jsonl",
        "a.txt",
        str(tmp_path / "b.txt"),
    ]
    for entry, message in {
        "missing.txt": "data.train: there is no file missing.txt",
        "empty": r"data.train: the folder empty holds no text file \(.*; give .* a folder of \.txt, \.jsonl",
        "*.md": r"data.train: no file matches \*.md",
        "deep/ignored.pdf": "none of the formats",
        "builtin:poems": "the builtin corpus is builtin:stories",
    }.items():
        with pytest.raises(DataError, match=message):
            names(entry)


def test_a_folder_gives_its_files_of_all_formats_and_no_folder(tmp_path):
    for suffix in SUFFIXES:
        (tmp_path / f"a{suffix}").write_text("")
    assert len(SUFFIXES) == 9
    (tmp_path / "b.TXT").write_text("")
    (tmp_path / "c.txt").mkdir()
    (tmp_path / "c.txt/.txt").write_text("")
    found = find_sources(["."], "data.train", quiet)
    assert [source.name for source in found] == sorted(["c.txt/.txt", *(f"a{suffix}" for suffix in SUFFIXES)])
    assert [source.kind for source in found] == [source.name.split(".")[1] for source in found[:-1]] + ["txt"]


@pytest.mark.parametrize("name", ["~$notes.txt", "a[1].txt", "naïve 🦉.txt", ".txt", ".jsonl.gz"])
def test_a_file_may_have_any_name(tmp_path, name):
    (tmp_path / name).write_text("")
    assert names(name) == [name]
    assert Source(name, tmp_path / name).kind == name.split(".")[1]


def test_the_home_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "a.txt").write_text("")
    assert names("~/a.txt", "~/*.txt") == [str(tmp_path / "a.txt")] * 2


def test_what_is_missing_is_told_from_what_is_wrong(tmp_path):
    (tmp_path / "empty").mkdir()
    for entry in ("missing.txt", "*.txt", "empty"):
        with pytest.raises(
            SourceMissingError, match=r"looked from .*; give a path, a glob, a folder of \.txt, "
        ):
            names(entry)
    with pytest.raises(SourceMissingError, match=r"data\.val: http://x/a\.txt has not been downloaded"):
        find_sources(["http://x/a.txt"], "data.val", quiet, may_download=False)
    (tmp_path / "a.txt.bz2").write_text("")
    with pytest.raises(
        DataError, match=r"a\.txt\.bz2 is none of the formats that are read: \.txt, "
    ) as error:
        names("a.txt.bz2")
    assert not isinstance(error.value, SourceMissingError)


def test_sizes_stamps_and_hashes(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("owl " * 10)
    plain, packed, builtin = (
        Source("a.txt", path),
        Source("b", tmp_path / "a.jsonl.gz"),
        Source(BUILTIN, None, 10),
    )
    packed.path.write_bytes(b"x" * 40)
    assert [source.size() for source in (plain, packed, builtin)] == [40, 40, 8200]
    assert [source.expected_bytes() for source in (plain, packed, builtin)] == [
        40,
        40 * COMPRESSION_RATIO,
        8200,
    ]
    before, seen = (plain.stamp(), plain.hash(quiet)), []
    assert plain.hash(seen.append) == before[1]
    assert seen == [40]
    os.utime(path, ns=(0, 1))
    assert plain.stamp() != before[0]
    path.write_text("elk " * 10)
    assert plain.hash(quiet) != before[1]
    assert builtin.stamp() == {"bytes": 0, "mtime_ns": 0}
    assert builtin.hash(quiet) == Source(BUILTIN, None).hash(quiet)
