"""The training loop: batches in, reports out. It knows no terminal and no config file; who runs it shows and logs."""

from collections.abc import Callable, Generator, Iterator, Mapping

import torch

from bittygpt.data.batches import Batch
from bittygpt.training.devices.memory import memory_explained
from bittygpt.training.divergence import MOST_REWINDS, TEXT_TOKENS, WITHIN_STEPS
from bittygpt.training.events import (
    DivergedReport,
    EvalReport,
    InterruptedReport,
    OutOfTimeReport,
    Report,
    RewindReport,
    SampleDueReport,
    SmallerMicroBatchReport,
)
from bittygpt.training.state import TrainingState
from bittygpt.training.step import StepResult
from bittygpt.training.timing.throughput import ThroughputMeter


class Trainer(TrainingState):
    """The loop itself."""

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
        if not self.progress.is_over(self.step):
            self.saver.require_free_space()
        self.saver.keep_initial_state()
        self.executor.start(self.batches.batch(self.guard.batch_number(self.step + 1)))
        may_go_on = yield from self.progress.prepare(self.step, self.executor, self.validation, self.saver)
        self.meter.restart(self.step)
        is_due = self.validation.is_due(self.step, self.progress.is_over(self.step) or not may_go_on)
        is_missing = is_due and self.step not in self.val_losses
        has_ended = (is_missing and (yield from self._evaluate(stop_asked))) or not may_go_on
        while not has_ended and not self.progress.is_over(self.step):
            yield from self.saver.watch_free_space(self.step, self.val_losses)
            has_ended = yield from self._take_step(stop_asked)

    def _take_step(self, stop_asked: Callable[[], bool]) -> Generator[Report, None, bool]:
        """One step with what follows it; True: the run has ended before its time."""
        step, size = self.step + 1, self.executor.micro_batch_size
        broadcast = self.progress.begin_step(step)
        if stop_asked() and self.ranks.world_size == 1:  # several learn of it together, with the loss
            return (yield from self._stop())
        with self.meter.waiting():
            number = self.guard.batch_number(step)
            batch = self.prefetcher.batch(number)
        try:
            result = self.executor.gradients(batch, stop_asked(), broadcast)
        except Exception:
            if self.ranks.world_size > 1 or not stop_asked():
                raise
            return (yield from self._stop())  # Ctrl-C has also reached a compiler at work for the model
        if self.executor.micro_batch_size != size:
            yield SmallerMicroBatchReport(step, self.executor.micro_batch_size)
        if reason := self.guard.fault(result):
            with self.timer.pause("rewind"):
                return (yield from self._rewind(number, batch, result, reason))

        lr = self.progress.take_step(step, result.broadcast.progress)
        self.executor.update(lr)
        self.guard.losses.append(result.loss)
        self.step = step
        is_last = self.progress.is_over(step)
        if step % self.config.train.log_every == 0 or step == 1 or is_last:
            yield self.meter.report(step, result, lr, batch.hash(), self.elapsed())
        if result.stop_asked and not is_last:
            return (yield from self._stop())
        if not is_last and not result.broadcast.may_pause:
            return False
        with self.timer.pause("samples"):
            yield from due_samples(step, is_last, self.config.train.sample_every, self.meter)
        if is_last or step % self.config.train.save_every == 0:
            yield from self._save(can_wait=not is_last)
        return self.validation.is_due(step, is_last) and (yield from self._evaluate(stop_asked))

    def _evaluate(self, stop_asked: Callable[[], bool]) -> Generator[Report, None, bool]:
        """Evaluate, and let go of the checkpoint that was the best until now; True: the run ends here."""
        with self.timer.pause("evaluation"):
            result = self.validation.run(
                self.executor, lambda: stop_asked() or self.progress.is_past_deadline()
            )
            if result is not None and not result.is_finite:
                self.saver.quarantine(self.step)  # the update before it has ruined the weights
                yield DivergedReport(self.step, f"the validation loss is {result.loss:.4g}")
                return True
            if result is not None:
                self.val_losses[self.step] = result.loss
                self.saver.remove_old(self.val_losses)
                yield EvalReport(self.step, result.loss, result.bits_per_byte, self.elapsed())
        if result is None:
            is_past_deadline = self.ranks.broadcast(self.progress.is_past_deadline())
            return (
                yield from self._stop(OutOfTimeReport(self.step, "evaluation") if is_past_deadline else None)
            )
        self.meter.restart(self.step)
        return False

    def _rewind(
        self, number: int, batch: Batch, result: StepResult, reason: str
    ) -> Generator[Report, None, bool]:
        """Leave out the batch that diverged, or go further back; True: give up.

        No update was made, so the weights are still good; unless other data has diverged in the same step. Then the
        run goes back to the last checkpoint, or to the start, and all that it has read since is left out.
        """
        step, guard = self.step + 1, self.guard
        if not guard.may_rewind(step):
            yield DivergedReport(
                step, f"{reason}, after {MOST_REWINDS} rewinds within {WITHIN_STEPS:,} steps"
            )
            return True
        if guard.state_is_suspect(step):
            rewinds = guard.rewinds
            self.load_state(self.saver.go_back(before=self.step))
            guard.rewinds = rewinds
        text = self.tokenizer.decode(batch.ids[0, :TEXT_TOKENS].tolist())
        made = guard.leave_out(step, self.step, number, result, reason, batch, text)
        self.val_losses = {step: loss for step, loss in self.val_losses.items() if step <= self.step}
        yield RewindReport(made)
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
            **self.progress.state(),
            "torch": torch.__version__,
        }
        with self.timer.pause("save"):
            yield from self.saver.save(self.step, state, self.val_losses, can_wait=can_wait)


def due_samples(
    step: int, is_last: bool, every: int | None, meter: ThroughputMeter
) -> Iterator[SampleDueReport]:
    """A report every `every` steps and after the last; None: never. The time of the text itself counts for no rate.

    It comes before the checkpoint of the same step, so that a run resumed there has the text in its log.
    """
    if every is not None and (is_last or step % every == 0):
        yield SampleDueReport(step)
        meter.restart(step)
