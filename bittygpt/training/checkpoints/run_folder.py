"""What lies in `runs/NAME/`, and the two files that tell how the run goes: `metrics.jsonl` and `status.json`."""

import json
import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from bittygpt.files import write_json, write_text

# events that have happened, whatever comes later
HISTORY = frozenset({"start", "resume", "interrupted", "diverged"})


class RunFolder:
    """The paths of a run, its log of events and its status."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.checkpoints = path / "checkpoints"
        self.config = path / "config.yaml"
        self.metrics = path / "metrics.jsonl"
        self.status = path / "status.json"
        self.plot = path / "loss.png"
        self.page = path / "report.html"

    def events(self) -> Iterator[dict[str, Any]]:
        """The events of `metrics.jsonl` in order; a last line that a kill cut short is left out."""
        if not self.metrics.exists():
            return
        with open(self.metrics, encoding="utf-8") as file:
            for line in file:
                try:
                    event = json.loads(line)
                except ValueError:
                    continue
                if line.endswith("\n") and isinstance(event, dict):
                    yield event

    def validation_losses(self) -> dict[int, float]:
        """Validation loss by step."""
        return {event["step"]: event["val_loss"] for event in self.events() if event.get("event") == "eval"}

    def truncate_after(self, step: int, rewinds: int) -> int:
        """Drop the events of later steps: a run resumed at `step` makes them again, and none may stand twice.

        Of the rewinds those stay, whatever their step, that the state resumed from knows: the first `rewinds`; and all
        starts and stops, which are not made again. Gives the highest step that there was.
        """
        kept, rewinds_seen, highest = [], 0, 0
        for event in self.events():
            kind = event["event"]
            rewinds_seen += kind == "rewind"
            highest = max(highest, event["step"])
            is_known = rewinds_seen <= rewinds if kind == "rewind" else event["step"] <= step
            if is_known or kind in HISTORY:
                kept.append(json.dumps(event) + "\n")
        write_text(self.metrics, "".join(kept))
        return highest

    def log(self, event: dict[str, Any]) -> None:
        """Append an event; it is in the file, whole, when this returns. On an error the file is as it was."""
        with open(self.metrics, "ab") as file:
            size = file.tell()
            try:
                file.write((json.dumps(event, allow_nan=False) + "\n").encode())
                file.flush()
            except OSError:
                with suppress(OSError):
                    os.truncate(self.metrics, size)
                raise

    def sync_log(self) -> None:
        """Flush the log to the disk, for a checkpoint that is about to rely on it."""
        if self.metrics.exists():
            with open(self.metrics, "rb") as file:
                os.fsync(file.fileno())

    def write_status(self, **fields: Any) -> None:
        """Replace `status.json`."""
        write_json(self.status, fields)

    def read_status(self) -> dict[str, Any]:
        """The last status written, {} when there is none."""
        try:
            return dict(json.loads(self.status.read_text("utf-8")))
        except (OSError, ValueError):
            return {}

    def move_to_backup(self) -> Path:
        """Move the folder to the first free of NAME.1, NAME.2, … for `--fresh`."""
        number = 1
        while (old := self.path.with_name(f"{self.path.name}.{number}")).exists():
            number += 1
        os.rename(self.path, old)
        return old
