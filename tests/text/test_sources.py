"""Sources: paths, globs and folders, and what is said of those that are not there."""

import pytest

from bittygpt.errors import DataError
from bittygpt.text.sources import find_sources


def quiet(*_):
    pass


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
