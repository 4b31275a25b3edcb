"""The folder of an export: whole and verified, or not there at all; what it replaces stays until then."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bittygpt.errors import UsageError
from bittygpt.files import sync_folder


def check_output_folder(out: Path, overwrite: bool, checkpoint: Path) -> Path:
    """The folder to write, links in it followed.

    Raises:
        UsageError: something is there and may not be replaced, or replacing it would remove the checkpoint itself
            or the folder that the program was started in.
    """
    target = out.resolve()
    for name, precious in (("the checkpoint", checkpoint), ("the folder you are in", Path.cwd())):
        if precious.resolve().is_relative_to(target):
            raise UsageError(
                f"--out {out} is or holds {name}, and would be replaced; name a folder of its own"
            )
    is_empty_folder = target.is_dir() and not any(target.iterdir())
    if target.exists() and not is_empty_folder and not overwrite:
        raise UsageError(f"--out {out} exists; name another folder, or replace it with --overwrite")
    return target


@contextmanager
def new_folder(target: Path) -> Iterator[Path]:
    """A folder beside `target` that takes its place when the block ends well, and goes when it does not.

    What was at `target` is moved aside for the exchange and removed after it.

    Raises:
        UsageError: no folder can be made there.
    """
    temporary, old = (target.with_name(f".{target.name}.{os.getpid()}.{kind}") for kind in ("tmp", "old"))
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary.mkdir()
    except OSError as error:
        raise UsageError(
            f"--out {target}: no folder can be made there ({error.strerror}); name another place"
        ) from None
    try:
        yield temporary
        _sync_files(temporary)
        if target.exists():
            os.rename(target, old)
        os.rename(temporary, target)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        if old.exists() and not target.exists():
            os.rename(old, target)
        raise
    sync_folder(target.parent)
    if old.is_dir():
        shutil.rmtree(old)
    else:
        old.unlink(missing_ok=True)


def _sync_files(folder: Path) -> None:
    for path in folder.iterdir():
        with open(path, "rb") as file:
            os.fsync(file.fileno())
    sync_folder(folder)
