"""When a run's state goes to the disk, whether there is room for it, and which state a run can go back to."""

import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from bittygpt.core import TransformerLM
from bittygpt.errors import CheckpointError, DiskFullError
from bittygpt.files import is_disk_full
from bittygpt.tokenizer.tokenizer import Tokenizer
from bittygpt.training.checkpoints.checkpoint import begin_checkpoint, restore, save_checkpoint
from bittygpt.training.checkpoints.checkpoint_folder import (
    checkpoint_path,
    newest_good,
    quarantine,
    quarantine_diverged,
    remove_old,
    to_be_removed,
)
from bittygpt.training.devices.memory import FLOAT, num_trainable
from bittygpt.training.distributed.parallel import restore_snapshot, snapshot
from bittygpt.training.divergence import NOTHING_YET
from bittygpt.training.events import LowSpaceReport, Report, SavedReport
from bittygpt.training.executor import Executor

LOOK_EVERY = 30.0  # seconds between two looks at the free space
BESIDE_TENSORS = 2_000_000  # bytes: vocabulary, config, state; and what other processes write meanwhile


class Saver:
    """Writes the checkpoints of a run, and removes those that are no longer kept.

    `before_save` puts on the disk what a checkpoint is to rely on; it may find the disk full, too.
    """

    def __init__(
        self,
        folder: Path,
        keep: int,
        save_every: int,
        executor: Executor,
        config_yaml: str,
        tokenizer: Tokenizer,
    ) -> None:
        self.folder, self.keep, self.save_every = folder, keep, save_every
        self.executor, self.ranks = executor, executor.ranks
        self.config_yaml, self.tokenizer = config_yaml, tokenizer
        self.needed = checkpoint_bytes(executor.model, executor.moments, in_parts=executor.shards > 1)
        self.before_save: Callable[[], None] = lambda: None
        self.saved_step: int | None = None
        self._start: dict[str, Tensor] | None = None
        self._looked_at = float("-inf")
        self._is_low = False

    def require_free_space(self) -> None:
        """Refuse a run whose first checkpoint would find no room.

        Raises:
            DiskFullError: there is too little, also with what the next checkpoint lets go.
        """
        if self.ranks.is_main and self._room({}) < self.needed:
            raise DiskFullError(self._message("a checkpoint takes"))

    def watch_free_space(self, step: int, val_losses: Mapping[int, float]) -> Iterator[LowSpaceReport]:
        """Tell, once, when the next checkpoint will not find room; long before it is due, if it can be known."""
        if not self.ranks.is_main or time.monotonic() - self._looked_at < LOOK_EVERY:
            return
        self._looked_at = time.monotonic()
        was_low, room = self._is_low, self._room(val_losses)
        self._is_low = room < self.needed
        if self._is_low and not was_low:
            due = (step // self.save_every + 1) * self.save_every
            yield LowSpaceReport(step, due, room, self.needed)

    def save(
        self, step: int, state: dict[str, Any], val_losses: Mapping[int, float], *, can_wait: bool
    ) -> Iterator[Report]:
        """Write the checkpoint of a step, unless it is there, and remove what is no longer kept.

        A full disk leaves the checkpoints that were there. If the step `can_wait`, the run goes on and the next
        checkpoint is another try.

        Raises:
            DiskFullError: the disk is full and the step cannot wait.
        """
        if self.saved_step == step:
            return
        trouble = self._attempt(lambda: self._begin(step, val_losses) if self.ranks.is_main else None)
        if self.ranks.broadcast(trouble is None):  # the ranks write together, or none does
            trouble = self._attempt(lambda: self._write(step, state, val_losses))
        if trouble is not None and not can_wait:
            raise DiskFullError(
                self._message(f"the checkpoint of step {step:,} could not be written: it takes")
            ) from trouble
        if self.ranks.broadcast(trouble is None):
            self.saved_step, self._looked_at, self._start = step, float("-inf"), None
            yield SavedReport(step, checkpoint_path(self.folder, step))
        else:
            self._is_low = True
            yield LowSpaceReport(step, None, free_bytes(self.folder), self.needed)

    def _attempt(self, action: Callable[[], None]) -> Exception | None:
        """Run an action; returns its error where the disk was full."""
        try:
            action()
        except Exception as error:
            if not is_disk_full(error):
                raise
            return error
        return None

    def _begin(self, step: int, val_losses: Mapping[int, float]) -> None:
        self.before_save()
        begin_checkpoint(self.folder, step)
        if free_bytes(self.folder) < self.needed:
            remove_old(self.folder, self.keep - 1, val_losses)  # what would go after it goes before it

    def _write(self, step: int, state: dict[str, Any], val_losses: Mapping[int, float]) -> None:
        model, optimizers = self.executor.model, self.executor.optimizers
        save_checkpoint(
            self.folder, step, model, optimizers, state, self.config_yaml, self.tokenizer, self.ranks
        )
        self.remove_old(val_losses)

    def remove_old(self, val_losses: Mapping[int, float]) -> None:
        """Remove the checkpoints that are neither among the newest nor the best, after an evaluation."""
        if self.ranks.is_main:
            remove_old(self.folder, self.keep, val_losses)

    def restore(self, checkpoint: Path) -> dict[str, Any]:
        """Model and optimizers as a checkpoint has them; gives its `state.json`."""
        state = restore(checkpoint, self.executor.model, self.executor.optimizers)
        self.executor.forget_graphs()
        self.saved_step = state["step"]
        return state

    def keep_initial_state(self) -> None:
        """Keep a copy of the weights in main memory, to go back to as long as there is no checkpoint."""
        if self.saved_step is None:
            self._start = snapshot(self.executor.model)

    def go_back(self, before: int) -> dict[str, Any]:
        """Model and optimizers as they were at the last regular checkpoint of a step less than `before`.

        Where there is none before: the newest one; where there is none at all: the start. Later checkpoints
        are set aside: their weights have led to a divergence whatever the data. Gives the state gone back to.
        """
        found: Path | None = None
        if self.ranks.is_main:
            quarantine_diverged(self.folder, before, self.save_every)
            found = newest_good(self.folder, lambda _: None)
        if checkpoint := self.ranks.broadcast(found):
            return self.restore(checkpoint)
        if self._start is None:
            raise CheckpointError(f"{self.folder} has no good checkpoint left that the run could go back to")
        restore_snapshot(self.executor.model, self._start)
        for optimizer in self.executor.optimizers:
            optimizer.state.clear()
        self.executor.forget_graphs()
        return {"step": 0, "divergence": NOTHING_YET}

    def quarantine(self, step: int) -> None:
        """Rename the checkpoint of a step, so that nobody resumes from it: its weights are ruined."""
        if self.ranks.is_main and (path := checkpoint_path(self.folder, step)).exists():
            quarantine(path, "diverged")

    def _room(self, val_losses: Mapping[int, float]) -> int:
        doomed = to_be_removed(self.folder, self.keep - 1, val_losses)
        freed = sum(file.stat().st_size for path in doomed for file in path.iterdir())
        return free_bytes(self.folder) + freed

    def _message(self, beginning: str) -> str:
        free = free_bytes(self.folder)
        remedy = "make room" if free < self.needed else "see what limits files (ulimit -f, a quota)"
        return (
            f"{self.folder}: {beginning} {self.needed / 1e6:,.0f} MB and {free / 1e6:,.0f} MB are free; {remedy} and "
            "run the same command: it goes on from the last checkpoint, if there is one"
        )


def checkpoint_bytes(model: TransformerLM, moments: int, in_parts: bool = False) -> int:
    """About what writing a checkpoint takes: the weights, and `moments` numbers for each that is trained.

    Where ranks write `in_parts`, the parts of a file lie beside the whole until this is complete.
    """
    weights, trained = model.num_parameters(), num_trainable(model)
    beside = max(weights, moments * trained) if in_parts else 0
    return FLOAT * (weights + moments * trained + beside) + BESIDE_TENSORS


def free_bytes(folder: Path) -> int:
    """What may still be written below a folder, or below where it will be made."""
    while not folder.exists():
        folder = folder.parent
    return shutil.disk_usage(folder).free
