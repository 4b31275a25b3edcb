"""Reads the folder of a run: all that the page shows."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bittygpt.config import RunConfig, load_config
from bittygpt.errors import CheckpointError, ConfigError
from bittygpt.terminal.baselines import BaselineLoss
from bittygpt.training.checkpoints.checkpoint_folder import NAME
from bittygpt.training.checkpoints.run_folder import HISTORY, RunFolder

TROUBLE = HISTORY | {"rewind", "micro_batch", "low_space", "out_of_time"}


@dataclass(frozen=True)
class RunRecord:
    """What happened in a run, in the order of its steps, and with which config.

    `config` is None where config.yaml is missing or of another version; `yaml` is its text.
    """

    name: str
    folder: Path
    status: dict[str, Any]
    steps: list[dict[str, Any]]
    evals: list[dict[str, Any]]
    samples: list[dict[str, Any]]
    history: list[dict[str, Any]]
    baselines: list[BaselineLoss]
    config: RunConfig | None
    yaml: str

    @property
    def state(self) -> str:
        """running, interrupted, finished, diverged or failed; unknown without a status.json."""
        return str(self.status.get("state", "unknown"))

    @property
    def beginning(self) -> dict[str, Any]:
        """The newest event that tells of model and device, {} when there is none."""
        starts = [event for event in self.history if event["event"] in {"start", "resume"}]
        return starts[-1] if starts else {}

    @property
    def elapsed(self) -> float | None:
        """Seconds of work, None before there is any."""
        return max((event["elapsed"] for event in self.steps + self.evals + self.samples), default=None)

    @property
    def best(self) -> dict[str, Any] | None:
        """The evaluation of the lowest validation loss."""
        return min(self.evals, key=lambda event: event["val_loss"], default=None)

    @property
    def bits_per_nat(self) -> float | None:
        """Bits per byte of text for a nat per token; None where nothing tells."""
        known = [event for event in self.evals if is_number(event.get("val_bpb")) and event["val_loss"] > 0]
        return known[-1]["val_bpb"] / known[-1]["val_loss"] if known else None


def is_number(value: Any) -> bool:
    """Whether it can be drawn: neither null nor NaN nor infinite."""
    return isinstance(value, int | float) and math.isfinite(value)


def run_folder_of(spec: str) -> Path:
    """The folder of the run that `--ckpt` means, be it given by its best or by one of its checkpoints.

    Raises:
        CheckpointError: no run is there.
    """
    path = Path(spec.removesuffix(":best")).expanduser()
    if NAME.fullmatch(path.resolve().name):
        path = path.resolve().parent.parent
    if not RunFolder(path).metrics.is_file():
        raise CheckpointError(
            f"--ckpt {spec}: {path} has no metrics.jsonl to report on; give the folder of a run, runs/NAME"
        )
    return path


def read_run(folder: Path) -> RunRecord:
    """Read a run's folder, finished or not. What is missing or damaged there is left out."""
    run = RunFolder(folder)
    by_kind: dict[str, list[dict[str, Any]]] = {}
    for event in run.events():
        if is_number(event.get("step")) and isinstance(event.get("event"), str):
            event.setdefault("elapsed", 0.0)
            by_kind.setdefault("trouble" if event["event"] in TROUBLE else event["event"], []).append(event)
    try:
        yaml = run.config.read_text("utf-8")
    except (OSError, UnicodeDecodeError):
        yaml = ""
    try:
        config = load_config(run.config) if yaml else None
    except ConfigError:
        config = None
    history = by_kind.get("trouble", [])
    starts = [event["ladder"] for event in history if event.get("ladder")]
    return RunRecord(
        name=config.run.name if config else folder.resolve().name,
        folder=folder,
        status=run.read_status(),
        steps=_one_per_step(by_kind.get("step", []), "loss"),
        evals=_one_per_step(by_kind.get("eval", []), "val_loss"),
        samples=[event for event in by_kind.get("sample", []) if isinstance(event.get("text"), str)],
        history=history,
        baselines=[BaselineLoss(str(each["name"]), each["loss"]) for each in (starts[-1] if starts else [])],
        config=config,
        yaml=yaml,
    )


def _one_per_step(events: Iterable[dict[str, Any]], value: str) -> list[dict[str, Any]]:
    """In the order of their steps, the last of each; those without a finite value are left out."""
    found = {event["step"]: event for event in events if is_number(event.get(value))}
    return [found[step] for step in sorted(found)]


def distinct_names(records: Sequence[RunRecord]) -> list[str]:
    """A name for each run; where two are called the same, their folders tell them apart."""
    names = [record.name for record in records]
    return [
        name if names.count(name) == 1 else f"{name} ({record.folder})"
        for name, record in zip(names, records, strict=True)
    ]
