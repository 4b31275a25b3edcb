"""`bittygpt export` on a disk without room: one message in every format, and nothing is left."""

import shutil
from pathlib import Path

import pytest

from bittygpt.commands import export as command
from bittygpt.errors import DiskFullError

NOTHING = 0
LITTLE = 40_000  # bytes: the weights' file is begun, and fits no more


def fill(disk: Path, free: int) -> None:
    (disk / "ballast").unlink(missing_ok=True)
    (disk / "ballast").write_bytes(bytes(shutil.disk_usage(disk).free - free))


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("format", ["hf", "report"])
def test_the_command_line_says_how_much_room_it_takes(bittygpt, small_disk, tokenizer, save_run, format):
    save_run(bittygpt.folder, tokenizer)
    fill(small_disk, NOTHING)
    before = names(small_disk)
    place = ["--out", f"runs/out{'.html' * (format == 'report')}"]
    done = bittygpt("export", "--ckpt", "runs/tiny", "--format", format, "--no-verify", *place, code=1)
    said = done.stderr.splitlines()[-1]
    assert "the disk that holds it is full, and nothing was exported; the export needs about " in said
    assert said.endswith(" MB; make room, or name a place on another disk")
    assert (done.stdout, names(small_disk)) == ("", before)


@pytest.mark.parametrize("format", ["hf", "gguf", "onnx", "torch"])
def test_a_disk_that_fills_while_it_is_written_is_named(bittygpt, small_disk, tokenizer, save_run, format):
    run = save_run(bittygpt.folder, tokenizer)
    pytest.importorskip({"onnx": "onnx"}.get(format, "torch"))
    options = {"format": format, "config": None, "dtype": "float32", "verify": False, "as_json": False}
    fill(small_disk, LITTLE)
    before = names(small_disk)
    with pytest.raises(DiskFullError, match="the disk that holds it is full"):
        command.export(str(run), out=small_disk / "out", overwrite=False, **options)
    assert names(small_disk) == before
