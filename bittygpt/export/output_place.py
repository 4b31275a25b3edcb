"""Where an export goes, a folder or a file: whole and verified, or not there; what it replaces stays until then."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bittygpt.errors import UsageError
from bittygpt.files import sync_folder


def check_output(out: Path, overwrite: bool, checkpoint: Path) -> Path:
    """The folder or file to write, links in it followed.

    Raises:
        UsageError: something is there and may not be replaced, or replacing it would remove the checkpoint itself
            or the folder that the program was started in.
    """
    target = out.resolve()
    for name, precious in (("the checkpoint", checkpoint), ("the folder you are in", Path.cwd())):
        if precious.resolve().is_relative_to(target):
            raise UsageError(f"--out {out} is or holds {name}, and would be replaced; name another place")
    is_empty_folder = target.is_dir() and not any(target.iterdir())
    if target.exists() and not is_empty_folder and not overwrite:
        raise UsageError(f"--out {out} exists; name another place, or replace it with --overwrite")
    return target


@contextmanager
def new_output(target: Path, as_file: bool = False) -> Iterator[Path]:
    """A folder beside `target` that takes its place when the block ends well, and goes when it does not.

    What was at `target` is moved aside for the exchange and removed after it. With `as_file`, the path of a file that
    the block is to write.

    Raises:
        UsageError: nothing can be written there.
    """
    temporary, old = (target.with_name(f".{target.name}.{os.getpid()}.{kind}") for kind in ("tmp", "old"))
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary.touch() if as_file else temporary.mkdir()
    except OSError as error:
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
    except BaseException:
        _remove(temporary, ignore_errors=True)
        if old.exists() and not target.exists():
            os.rename(old, target)
        raise
    sync_folder(target.parent)
    _remove(old)


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
