"""A run's checkpoints: which are damaged (by their hashes), the newest good one, the best one, which may be removed."""

import json
import os
import re
import shutil
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from bittygpt.errors import CheckpointError
from bittygpt.files import as_json, sha256_of
from bittygpt.training.checkpoints.run_folder import RunFolder

FILES = ("model.safetensors", "optimizer.safetensors", "state.json", "config.yaml", "vocab.json")
MANIFEST = "manifest.json"
_GIVE = "give runs/NAME, runs/NAME:best or a checkpoint"
NAME = re.compile(r"step-(\d{8,})")


def checkpoint_path(folder: Path, step: int) -> Path:
    """Where the checkpoint of a step lies."""
    return folder / f"step-{step:08d}"


def find_fault(path: Path) -> str | None:
    """What is wrong with a checkpoint, or None: every file is there and has the hash that the manifest says."""
    try:
        text = (path / MANIFEST).read_text("utf-8")
        manifest = json.loads(text)
        hashes = manifest["files"]
        missing = [name for name in FILES if name not in hashes]
        if manifest["format"] != 1 or text != as_json(manifest):
            return f"{MANIFEST} is damaged"
    except FileNotFoundError:
        return f"{MANIFEST} is missing"
    except (OSError, ValueError, KeyError, TypeError):
        return f"{MANIFEST} is damaged"
    if missing:
        return f"{MANIFEST} does not list {missing[0]}"
    for name, expected in hashes.items():
        try:
            if sha256_of(path / name) != expected:
                return f"{name} is not what was written (its hash differs)"
        except OSError as error:
            return f"{name} cannot be read ({error.strerror})"
    return None


def list_checkpoints(folder: Path) -> list[tuple[int, Path]]:
    """Step and path of the checkpoints in a folder, the newest first."""
    found = [(int(match[1]), path) for path in folder.glob("step-*") if (match := NAME.fullmatch(path.name))]
    return sorted(found, reverse=True)


def newest_good(folder: Path, on_damaged: Callable[[str], None]) -> Path | None:
    """The newest undamaged checkpoint, None when there is none; damaged ones are named on the way."""
    for _, path in list_checkpoints(folder):
        fault = find_fault(path)
        if fault is None:
            return path
        on_damaged(f"{path}: {fault}; taking the checkpoint before it")
    return None


def quarantine_damaged(folder: Path, say: Callable[[str], None]) -> None:
    """Rename damaged checkpoints that are newer than the newest good one, so that they count for nothing.

    Raises:
        CheckpointError: there are checkpoints, and not one is good.
    """
    damaged: list[tuple[Path, str]] = []
    checkpoints = list_checkpoints(folder)
    for _, path in checkpoints:
        fault = find_fault(path)
        if fault is None:
            break
        damaged.append((path, fault))
    if damaged and len(damaged) == len(checkpoints):
        path, fault = damaged[0]
        raise CheckpointError(
            f"{path}: {fault}, and no other checkpoint of the run is good; --fresh starts over (the old run is kept)"
        )
    for path, fault in damaged:
        aside = quarantine(path, "damaged")
        say(f"{path}: {fault}; kept as {aside.name}, and the checkpoint before it is taken")


def best_step(steps: Iterable[int], val_losses: Mapping[int, float]) -> int | None:
    """Of the steps that were evaluated, the one of the lowest validation loss; the earlier of two equal ones."""
    evaluated = sorted(step for step in steps if step in val_losses)
    return min(evaluated, key=lambda step: val_losses[step], default=None)


def to_be_removed(folder: Path, keep: int, val_losses: Mapping[int, float]) -> list[Path]:
    """All checkpoints but the `keep` newest (the newest always stays) and the best by validation loss."""
    checkpoints = list_checkpoints(folder)
    best = best_step((step for step, _ in checkpoints), val_losses)
    return [path for step, path in checkpoints[max(1, keep) :] if step != best]


def remove_old(folder: Path, keep: int, val_losses: Mapping[int, float]) -> None:
    """Remove what is not to be kept, see `to_be_removed`."""
    for path in to_be_removed(folder, keep, val_losses):
        doomed = path.with_name(
            f".{path.name}.removed"
        )  # a kill must not leave half a checkpoint under its name
        os.rename(path, doomed)
        shutil.rmtree(doomed)


def quarantine_diverged(folder: Path, before: int, every: int) -> None:
    """Rename checkpoints so that the newest one left is good and of a step less than `before`; if there is such a one.

    One whose step is a multiple of `every` is preferred: the others are there only because a run was stopped, and a
    run that was stopped is to go back as far as one that was not.
    """
    checkpoints = list_checkpoints(folder)
    candidates = [(n, path) for n, path in checkpoints if n < before]
    candidates.sort(key=lambda checkpoint: (checkpoint[0] % every != 0, -checkpoint[0]))
    target = next((n for n, path in candidates if find_fault(path) is None), None)
    for number, path in checkpoints:
        if target is not None and number > target:
            quarantine(path, "diverged")


def quarantine(path: Path, why: str) -> Path:
    """Rename a checkpoint so that it is not found any more; returns its new path."""
    aside = path.with_name(f"{why}-{path.name}")
    shutil.rmtree(aside, ignore_errors=True)
    os.rename(path, aside)
    return aside


def clean_up(folder: Path) -> None:
    """Remove what a killed process left: half-written and half-removed checkpoints."""
    for leftover in folder.glob(".step-*"):
        shutil.rmtree(leftover, ignore_errors=True)


def find_checkpoint(spec: str, on_damaged: Callable[[str], None], asked_by: str = "--ckpt") -> Path:
    """The checkpoint folder that `--ckpt` means: `runs/NAME` (newest good), `runs/NAME:best`, or the folder itself.

    Raises:
        CheckpointError: there is none, or the one that is named is damaged.
    """
    name, wants_best = (spec[: -len(":best")], True) if spec.endswith(":best") else (spec, False)
    if not name:
        raise CheckpointError(f"{asked_by} {spec!r} names no run; {_GIVE}")
    path = Path(name).expanduser()
    _check_readable(path, f"{asked_by} {spec}")
    if (path / "state.json").exists() or NAME.fullmatch(path.resolve().name):
        if fault := find_fault(path):
            raise CheckpointError(f"{asked_by} {spec}: {fault}; take another checkpoint of the run")
        return path
    run = RunFolder(path)
    if run.checkpoints.is_dir():
        _check_readable(run.checkpoints, f"{asked_by} {spec}")
    elif not run.config.exists():
        runs = _runs_near(path)
        remedy = (
            f"name one of them: {', '.join(map(str, runs[:5]))}{' …' * (len(runs) > 5)}" if runs else _GIVE
        )
        raise CheckpointError(
            f"{asked_by} {spec}: {path} is no run, it has no folder of checkpoints; {remedy}"
        )
    if wants_best:
        steps = dict(list_checkpoints(run.checkpoints))
        best = best_step((s for s, p in steps.items() if find_fault(p) is None), run.validation_losses())
        if best is None:
            raise CheckpointError(
                f"{asked_by} {spec}: no checkpoint of the run has been evaluated; take {path}"
            )
        return steps[best]
    found = newest_good(run.checkpoints, on_damaged)
    if found is None:
        raise CheckpointError(f"{asked_by} {spec}: no complete checkpoint in {run.checkpoints}; train first")
    return found


def _check_readable(folder: Path, asked: str) -> None:
    try:
        os.listdir(folder)
        os.stat(os.path.join(folder, "."))  # which takes the right to enter, too
    except (FileNotFoundError, NotADirectoryError):
        raise CheckpointError(f"{asked}: there is no folder {folder}; {_GIVE}") from None
    except OSError as error:
        raise CheckpointError(
            f"{asked}: {folder} cannot be read ({error.strerror}); make it readable, or copy it to where it is"
        ) from None


def _runs_near(folder: Path) -> list[Path]:
    """The runs in a folder that is none, or the one that it is the folder of checkpoints of."""
    if folder.name == "checkpoints" and (folder.parent / "config.yaml").exists():
        return [folder.parent]
    return sorted(path for path in folder.iterdir() if os.path.isdir(path / "checkpoints"))
