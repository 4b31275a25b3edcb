"""What may be replaced, and that a failure leaves everything as it was."""

import errno
import os
import shutil
from pathlib import Path

import pytest

from bittygpt.errors import DiskFullError, ExportError, UsageError
from bittygpt.export.output_place import check_output, new_output


def names(folder):
    return sorted(path.name for path in folder.iterdir())


@pytest.fixture
def checkpoint(tmp_path):
    path = tmp_path / "runs/tiny/checkpoints/step-00000003"
    path.mkdir(parents=True)
    return path


def test_new_and_empty_folders_are_free_and_others_need_overwrite(tmp_path, checkpoint):
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_text("x")
    for name in ("new", "empty", "deep/er"):
        assert check_output(tmp_path / name, False, checkpoint) == tmp_path / name
    for name in ("file", "runs/tiny/.."):
        with pytest.raises(UsageError, match="--overwrite" if name == "file" else "holds the checkpoint"):
            check_output(tmp_path / name, False, checkpoint, as_file=True)
    assert check_output(tmp_path / "file", True, checkpoint, as_file=True) == tmp_path / "file"


@pytest.mark.parametrize(
    ("files", "named"),
    [
        (["notes/a.txt"], "notes/"),
        (["config.json", "onnx/model.onnx", "onnx/mine.onnx"], "onnx/mine.onnx"),
        (["README.md", "out.gguf", "another.gguf"], "another.gguf"),
        (["config.json/mine"], "config.json/"),
        (
            [f"tokens-{number}.bin" for number in range(5)],
            "tokens-0.bin, tokens-1.bin, tokens-2.bin and 2 more",
        ),
    ],
)
def test_a_folder_with_anything_else_in_it_is_never_replaced(tmp_path, checkpoint, files, named):
    for name in files:
        (tmp_path / "out" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "out" / name).write_text("precious")
    for as_file in (False, True):
        with pytest.raises(
            UsageError, match=rf"holds what no export writes: {named}, and .* remove it yourself"
        ):
            check_output(tmp_path / "out", True, checkpoint, as_file)


def test_a_linked_folder_in_an_export_is_not_looked_into(tmp_path, checkpoint):
    (tmp_path / "out").mkdir()
    (tmp_path / "graphs").mkdir()
    (tmp_path / "out/onnx").symlink_to("../graphs")
    with pytest.raises(UsageError, match="no export writes: onnx/"):
        check_output(tmp_path / "out", True, checkpoint)


def test_a_file_is_never_replaced_by_a_folder(tmp_path, checkpoint):
    (tmp_path / "tiny.txt").write_text("precious")
    with pytest.raises(
        UsageError, match=r"tiny.txt is no folder, as this export would be.*name another place"
    ):
        check_output(tmp_path / "tiny.txt", True, checkpoint)


def test_neither_the_checkpoint_nor_the_working_folder_is_ever_replaced(tmp_path, checkpoint, monkeypatch):
    for out in (checkpoint, *list(checkpoint.parents)[:4]):
        with pytest.raises(UsageError, match="is or holds the checkpoint"):
            check_output(out, True, checkpoint)
    (tmp_path / "a/b").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "a/b")
    for out in (Path("."), Path(".."), tmp_path / "a"):
        with pytest.raises(UsageError, match="is or holds the folder you are in"):
            check_output(out, True, checkpoint)


def test_links_are_followed(tmp_path, checkpoint):
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    (tmp_path / "dangling").symlink_to("nowhere")
    for link, target in (("link", "real"), ("dangling", "nowhere")):
        with new_output(check_output(tmp_path / link, False, checkpoint)) as folder:
            (folder / "a").write_text("1")
        assert (tmp_path / link).is_symlink()
        assert names(tmp_path / target) == ["a"]


@pytest.mark.parametrize("before", ["nothing", "folder", "file"])
def test_a_failure_leaves_what_was_there_and_success_replaces_it(tmp_path, before):
    out = tmp_path / "out"
    if before == "folder":
        out.mkdir()
        (out / "mine").write_text("precious")
    elif before == "file":
        out.write_text("precious")

    def fail():
        with new_output(out) as folder:
            (folder / "half").write_text("x")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert names(tmp_path) == ([] if before == "nothing" else ["out"])
    if before != "nothing":
        assert (out / "mine" if before == "folder" else out).read_text() == "precious"
    with new_output(out) as folder:
        (folder / "whole").write_text("x")
        assert not (out / "whole").exists()
    assert (names(tmp_path), names(out)) == (["out"], ["whole"])


def test_a_failing_exchange_puts_the_old_folder_back(tmp_path, monkeypatch):
    out = tmp_path / "out"
    out.mkdir()
    (out / "mine").write_text("precious")
    rename = os.rename

    def rename_all_but_the_new(source, target):
        if str(source).endswith(".tmp"):
            raise OSError("no")
        rename(source, target)

    monkeypatch.setattr(os, "rename", rename_all_but_the_new)
    with pytest.raises(OSError, match="no"), new_output(out):
        pass
    assert (names(tmp_path), names(out)) == (["out"], ["mine"])


def test_a_place_where_no_folder_can_be_made_is_named(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(UsageError, match="no folder can be made there"), new_output(tmp_path / "file/out"):
        pass


FULL = shutil._ntuple_diskusage(1_000_000, 999_000, 1_000)


@pytest.mark.parametrize(
    ("free", "error", "expected"),
    [
        (None, OSError(errno.ENOSPC, "No space left on device"), DiskFullError),
        (FULL, RuntimeError("[enforce fail at inline_container.cc] . unexpected pos 64 vs 0"), DiskFullError),
        (FULL, OSError("12288 requested and 11920 written"), DiskFullError),
        (FULL, ExportError("it is another model"), ExportError),
        (FULL, KeyboardInterrupt(), KeyboardInterrupt),
        (None, RuntimeError("a bug"), RuntimeError),
    ],
)
def test_a_full_disk_is_known_by_what_is_free(tmp_path, monkeypatch, free, error, expected):
    (tmp_path / "out").mkdir()
    (tmp_path / "out/README.md").write_text("precious")
    if free is not None:
        monkeypatch.setattr(shutil, "disk_usage", lambda _: free)
    with pytest.raises(expected) as raised, new_output(tmp_path / "out", needed=12_300_000):
        raise error
    if expected is DiskFullError:
        assert "the export needs about 12.3 MB; make room" in str(raised.value)
    assert (names(tmp_path), names(tmp_path / "out")) == (["out"], ["README.md"])
