"""The folder or file that an export goes to: it appears complete and verified, or what was there before stays."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bittygpt.errors import BittyGPTError, DiskFullError, UsageError
from bittygpt.files import is_disk_full, sync_folder

# What exports of all formats write into a folder; beside these, a folder `owl` may hold owl.gguf or owl.pt2.
_NAMES = {
    *("README.md", "config.json", "generation_config.json", "genai_config.json", "model.safetensors"),
    *("tokenizer.json", "tokenizer_config.json", "vocab.json"),
    *("onnx/model.onnx", "onnx/model_plain.onnx", "onnx/model.onnx_data"),
}
_MOST_NAMED = 3
_NEXT_TO_NOTHING = 100_000  # bytes: of a disk with no more, a writer that failed had filled it


def check_output(out: Path, overwrite: bool, checkpoint: Path, as_file: bool = False) -> Path:
    """The folder or file to write, links in it followed.

    Raises:
        UsageError: something is there and may not be replaced, because it does not look like an export or there is no
            `overwrite`; or replacing it would remove the checkpoint itself or the folder that the program was started
            in.
    """
    target = out.resolve()
    for name, precious in (("the checkpoint", checkpoint), ("the folder you are in", Path.cwd())):
        if precious.resolve().is_relative_to(target):
            raise UsageError(f"--out {out} is or holds {name}, and would be replaced; name another place")
    if not target.exists() or (target.is_dir() and not any(target.iterdir())):
        return target
    if reason := _no_export(target, as_file):
        raise UsageError(
            f"--out {out} {reason}, and only an export is ever replaced; name another place, or remove it yourself"
        )
    if not overwrite:
        raise UsageError(f"--out {out} exists; name another place, or replace it with --overwrite")
    return target


def _no_export(target: Path, as_file: bool) -> str:
    """Why what is there does not look like an export that may be replaced; nothing where it does.

    A file is known by its ending, which the new one has too if it is one; a folder by the names of all in it.
    """
    if not target.is_dir():
        return "" if as_file and target.is_file() else "is no folder, as this export would be"
    graphs = target / "onnx"
    is_folder = graphs.is_dir() and not graphs.is_symlink()
    found = [path for path in target.iterdir() if not (is_folder and path == graphs)]
    found += graphs.iterdir() if is_folder else []
    known = {*_NAMES, f"{target.name}.gguf", f"{target.name}.pt2"}
    others = sorted(
        str(path.relative_to(target)) + "/" * path.is_dir()
        for path in found
        if path.is_dir() or str(path.relative_to(target)) not in known
    )
    if not others:
        return ""
    more = f" and {len(others) - _MOST_NAMED:,} more" if len(others) > _MOST_NAMED else ""
    return f"holds what no export writes: {', '.join(others[:_MOST_NAMED])}{more}"


@contextmanager
def new_output(target: Path, as_file: bool = False, needed: int = 0) -> Iterator[Path]:
    """A folder beside `target` that takes its place when the block ends well, and goes when it does not.

    What was at `target` is moved aside for the exchange and removed after it. With `as_file`, the path of a file that
    the block is to write. It takes about `needed` bytes.

    Raises:
        UsageError: nothing can be written there.
        DiskFullError: the disk is full; nothing is left there.
    """
    temporary, old = (target.with_name(f".{target.name}.{os.getpid()}.{kind}") for kind in ("tmp", "old"))
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary.touch() if as_file else temporary.mkdir()
    except OSError as error:
        if is_disk_full(error):
            raise disk_full(target, needed) from error
        what = "file" if as_file else "folder"
        raise UsageError(
            f"--out {target}: no {what} can be made there ({error.strerror}); name another place"
        ) from None
    try:
        yield temporary
        _sync_files(temporary)
        if target.exists():
            os.rename(target, old)
        os.rename(temporary, target)
    except BaseException as error:
        was_full = _has_filled(target.parent, error)  # to be asked before what was written goes
        _remove(temporary, ignore_errors=True)
        if old.exists() and not target.exists():
            os.rename(old, target)
        if was_full:
            raise disk_full(target, needed) from error
        raise
    sync_folder(target.parent)
    _remove(old)


def disk_full(out: Path, needed: int) -> DiskFullError:
    """What to raise where an export that takes about so many bytes has found no room."""
    return DiskFullError(
        f"--out {out}: the disk that holds it is full, and nothing was exported; the export needs about "
        f"{needed / 1e6:,.1f} MB; make room, or name a place on another disk"
    )


def _has_filled(folder: Path, error: BaseException) -> bool:
    """Whether an export has failed for want of room: some writers' errors say nothing of it, but there is none."""
    if isinstance(error, BittyGPTError) or not isinstance(error, Exception):
        return False
    return is_disk_full(error) or shutil.disk_usage(folder).free < _NEXT_TO_NOTHING


def _remove(path: Path, ignore_errors: bool = False) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=ignore_errors)
    else:
        path.unlink(missing_ok=True)


def _sync_files(place: Path) -> None:
    for path in [place, *place.rglob("*")]:
        if path.is_dir():
            sync_folder(path)
        else:
            with open(path, "rb") as file:
                os.fsync(file.fileno())
