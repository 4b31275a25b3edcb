"""`bittygpt export --format report`: the folders of runs -> a page about them."""

import json
from collections.abc import Sequence
from pathlib import Path

from bittygpt.errors import UsageError
from bittygpt.export.output_place import disk_full
from bittygpt.files import is_disk_full
from bittygpt.report.page import write_report
from bittygpt.report.record import run_folder_of
from bittygpt.terminal.console import result

PAGE_BYTES = 500_000  # about, of several long runs


def report(
    ckpts: Sequence[str], *, out: Path, config: Path | None, dtype: str, overwrite: bool, as_json: bool
) -> None:
    """Write a page about one run, or about several side by side; they may be finished or under way.

    Raises:
        UsageError: a flag is of no use here, `out` is taken, or a run is named twice.
        DiskFullError: there is no room for the page.
        CheckpointError: no run is at one of `ckpts`.
    """
    for flag, is_given in (("--config", config is not None), ("--dtype", dtype != "float32")):
        if is_given:
            raise UsageError(f"{flag}: a report holds no model; remove it")
    folders = [run_folder_of(ckpt) for ckpt in ckpts]
    places = [folder.resolve() for folder in folders]
    for place, ckpt in zip(places, ckpts, strict=True):
        if places.count(place) > 1:
            raise UsageError(f"--ckpt {ckpt}: the run {place.name} is named twice; name each run once")
    if out.is_dir():
        raise UsageError(
            f"--out {out} is a folder, and the report is a file; name one, such as {out / 'report.html'}"
        )
    if out.exists() and out.suffix != ".html":
        raise UsageError(
            f"--out {out} does not end with .html, and only a page is ever replaced; name another place, or remove it "
            "yourself"
        )
    if out.exists() and not overwrite:
        raise UsageError(f"--out {out} exists; name another place, or replace it with --overwrite")
    try:
        write_report(folders, out)
    except OSError as error:
        if is_disk_full(error):
            raise disk_full(out, PAGE_BYTES) from None
        raise UsageError(f"--out {out}: cannot be written ({error.strerror}); name another place") from None
    if as_json:
        result(json.dumps({"out": str(out), "format": "report", "runs": [str(folder) for folder in folders]}))
    else:
        result(f"{out}: {len(folders)} run{'s' * (len(folders) > 1)}")
