"""The training loop: batches in, reports out. It knows no terminal and no config file; who runs it shows and logs."""

import time
from collections.abc import Callable, Generator, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from bittygpt.core import TransformerLM
from bittygpt.data.batches import TrainingBatches
from bittygpt.data.shards import TokenSplit
from bittygpt.data.tokenizer import Tokenizer
from bittygpt.engine.cuda_graphs import CAPTURED
from bittygpt.training.course import Course, course_of
from bittygpt.training.devices import Device
from bittygpt.training.distributed import Ranks
from bittygpt.training.divergence import NOTHING_YET, DivergenceGuard
from bittygpt.training.executor import Executor
from bittygpt.training.memory import memory_explained
from bittygpt.training.pace import Pace
from bittygpt.training.prefetch import Prefetcher
from bittygpt.training.process_clock import process_age
from bittygpt.training.reports import (
    EvalReport,
    InterruptedReport,
    OutOfTimeReport,
    Report,
    SmallerMicroBatchReport,
)
from bittygpt.training.rewinding import give_up, rewind
from bittygpt.training.sample_times import due_samples
from bittygpt.training.saving import Saver
from bittygpt.training.speed import SpeedMeter
from bittygpt.training.validation import Validation

if TYPE_CHECKING:
    from bittygpt.config import RunConfig


class Trainer:
    """A run in progress: what computes, its data, and how far it is."""

    def __init__(
        self,
        config: "RunConfig",
        model: TransformerLM,
        tokenizer: Tokenizer,
        train_tokens: TokenSplit,
        val_tokens: TokenSplit,
        data_hash: str,
        device: Device,
        ranks: Ranks,
        checkpoints: Path,
        config_yaml: str,
        clock: Callable[[], float] = process_age,
    ) -> None:
        train, context = config.train, config.model.context_length
        self.config, self.model, self.device, self.ranks = config, model, device, ranks
        self.tokenizer, self.data_hash = tokenizer, data_hash
        self.executor = Executor(config, model, device, ranks)
        self.saver = Saver(checkpoints, train.keep, train.save_every, self.executor, config_yaml, tokenizer)
        self.guard = DivergenceGuard()
        ignored = tuple(tokenizer.special_ids[token] for token in train.ignore_tokens)
        end = tokenizer.end_of_text_id if config.data.windows == "documents" else None
        self.batches = TrainingBatches(
            train_tokens, context, train.batch_size, config.run.seed, ignored, document_end=end
        )
        self.ahead = Prefetcher(self.batches.batch, pin=device.is_cuda)
        token_bytes = torch.from_numpy(tokenizer.token_bytes())
        self.validation = Validation(config, val_tokens, token_bytes, ignored, document_end=end)
        self.val_losses: dict[int, float] = {}
        self.meter = SpeedMeter(device, self.tokens_per_step, model.flops_per_token(), ranks.world_size)
        self.pace = Pace(clock, cold=CAPTURED if device.is_cuda else 1)
        self.course: Course = course_of(config, self.pace, clock, ranks.is_main)
        self.step = 0
        self._elapsed_before, self._started = 0.0, time.perf_counter()

    @property
    def total_steps(self) -> int | None:
        """Optimizer steps of the whole run; with a time budget a forecast, None before there is one."""
        return self.course.total_steps

    @property
    def tokens_per_step(self) -> int:
        """Positions that go through the model in a step, over all ranks."""
        return self.config.train.batch_size * self.config.model.context_length

    def elapsed(self) -> float:
        """Seconds of work in this run, those before an interruption counted in."""
        return self._elapsed_before + time.perf_counter() - self._started

    def resume(self, checkpoint: Path) -> None:
        """Go on from a checkpoint as if nothing had happened."""
        state = self.saver.restore(checkpoint)
        self.take_up(state)
        self._elapsed_before = state["elapsed"]
        self.course.restore(state)
        if state["world_size"] == self.ranks.world_size:
            self.executor.keep_size(state["micro_batch_size"])

    def run(
        self,
        stop_asked: Callable[[], bool],
        val_losses: Mapping[int, float],
        before_save: Callable[[], None] = lambda: None,
    ) -> Iterator[Report]:
        """Train to the end, yielding a report of everything that happens.

        A checkpoint is saved before the evaluation of the same step, so that a crash in the evaluation costs nothing.

        Args:
            stop_asked: looked at before each step and while evaluating; True: save a checkpoint, and end.
            val_losses: validation loss by step, of the steps before; they tell which checkpoint is the best so far.
            before_save: puts on the disk what was reported so far, as a checkpoint relies on it.

        Raises:
            OutOfMemoryError: says on what the memory went, and which key to change.
            DiskFullError: there is no room for a checkpoint that cannot wait.
        """
        self.val_losses, self.saver.before_save = dict(val_losses), before_save
        with memory_explained(self.executor.out_of_memory):
            yield from self._run(stop_asked)

    def _run(self, stop_asked: Callable[[], bool]) -> Iterator[Report]:
        if not self.course.is_over(self.step):
            self.saver.check_room()
        self.saver.remember_start()
        self.executor.start(self.batches.batch(self.guard.batch_number(self.step + 1)))
        may_go_on = yield from self.course.prepare(self.step, self.executor, self.validation, self.saver)
        self.meter.restart(self.step)
        is_due = self.validation.is_due(self.step, self.course.is_over(self.step) or not may_go_on)
        is_missing = is_due and self.step not in self.val_losses
        has_ended = (is_missing and (yield from self._evaluate(stop_asked))) or not may_go_on
        while not has_ended and not self.course.is_over(self.step):
            yield from self.saver.look_at_room(self.step, self.val_losses)
            has_ended = yield from self._take_step(stop_asked)

    def _take_step(self, stop_asked: Callable[[], bool]) -> Generator[Report, None, bool]:
        """One step with what follows it; True: the run has ended before its time."""
        step, size = self.step + 1, self.executor.micro_batch_size
        word = self.course.begin_step(step)
        if stop_asked() and self.ranks.world_size == 1:  # several learn of it together, with the loss
            return (yield from self._stop())
        with self.meter.waiting():
            number = self.guard.batch_number(step)
            batch = self.ahead.batch(number)
        try:
            result = self.executor.gradients(batch, stop_asked(), word)
        except Exception:
            if self.ranks.world_size > 1 or not stop_asked():
                raise
            return (yield from self._stop())  # Ctrl-C has also reached a compiler at work for the model
        if self.executor.micro_batch_size != size:
            yield SmallerMicroBatchReport(step, self.executor.micro_batch_size)
        if reason := self.guard.fault(result):
            with self.pace.pause("rewind"):
                return (yield from rewind(self, number, batch, result, reason))

        lr = self.course.take_step(step, result.word.progress)
        self.executor.update(lr)
        self.guard.losses.append(result.loss)
        self.step = step
        is_last = self.course.is_over(step)
        if step % self.config.train.log_every == 0 or step == 1 or is_last:
            yield self.meter.report(step, result, lr, batch.hash(), self.elapsed())
        if result.stop_asked and not is_last:
            return (yield from self._stop())
        if not is_last and not result.word.may_pause:
            return False
        with self.pace.pause("samples"):
            yield from due_samples(step, is_last, self.config.train.sample_every, self.meter)
        if is_last or step % self.config.train.save_every == 0:
            yield from self._save(can_wait=not is_last)
        return self.validation.is_due(step, is_last) and (yield from self._evaluate(stop_asked))

    def take_up(self, state: Mapping[str, Any]) -> None:
        """Be where a checkpoint's state says."""
        self.step = state["step"]
        self.guard.restore(state.get("divergence", NOTHING_YET))

    def _evaluate(self, stop_asked: Callable[[], bool]) -> Generator[Report, None, bool]:
        """Evaluate, and let go of the checkpoint that was the best until now; True: the run ends here."""
        with self.pace.pause("evaluation"):
            result = self.validation.run(self.executor, lambda: stop_asked() or self.course.is_late())
            if result is not None and not result.is_finite:
                return (yield from give_up(self, result.loss))
            if result is not None:
                self.val_losses[self.step] = result.loss
                self.saver.remove_old(self.val_losses)
                yield EvalReport(self.step, result.loss, result.bits_per_byte, self.elapsed())
        if result is None:
            is_late = self.ranks.told_by_main(self.course.is_late())
            return (yield from self._stop(OutOfTimeReport(self.step, "evaluation") if is_late else None))
        self.meter.restart(self.step)
        return False

    def _stop(self, why: OutOfTimeReport | None = None) -> Generator[Report, None, bool]:
        yield from self._save(can_wait=False)
        yield why or InterruptedReport(self.step)
        return True

    def _save(self, *, can_wait: bool) -> Iterator[Report]:
        state = {
            "tokens": self.step * self.tokens_per_step,
            "elapsed": self.elapsed(),
            "micro_batch_size": self.executor.micro_batch_size,
            "world_size": self.ranks.world_size,
            "data_hash": self.data_hash,
            "divergence": self.guard.state(),
            **self.course.state(),
            "torch": torch.__version__,
        }
        with self.pace.pause("save"):
            yield from self.saver.save(self.step, state, self.val_losses, can_wait=can_wait)
