"""The training loop: batches in, reports out. It knows no terminal and no config file; who runs it shows and logs."""

import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from bittygpt.core import TransformerLM
from bittygpt.data.batches import TrainingBatches, evaluation_batches
from bittygpt.data.shards import TokenSplit
from bittygpt.data.tokenizer import Tokenizer
from bittygpt.training.checkpoint import restore, save_checkpoint
from bittygpt.training.checkpoint_folder import remove_old
from bittygpt.training.devices import Device
from bittygpt.training.distributed import Ranks, share_gradients
from bittygpt.training.evaluation import Evaluation, evaluate
from bittygpt.training.memory import is_out_of_memory, largest_micro_batch, out_of_memory
from bittygpt.training.optimizers import build_optimizers, learning_rate
from bittygpt.training.reports import DivergedReport, EvalReport, InterruptedReport, Report, SavedReport
from bittygpt.training.speed import SpeedMeter
from bittygpt.training.step import StepResult, train_step

if TYPE_CHECKING:
    from bittygpt.config import RunConfig


class Trainer:
    """A run in progress: model, optimizers, data, and how far it is."""

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
    ) -> None:
        train, context = config.train, config.model.context_length
        self.config, self.config_yaml, self.checkpoints = config, config_yaml, checkpoints
        self.device, self.ranks, self.tokenizer, self.data_hash = device, ranks, tokenizer, data_hash
        self.model = model.to(device.torch_device)
        self.optimizers = build_optimizers(self.model, config.optim)
        self.ignored = tuple(tokenizer.special_ids[token] for token in train.ignore_tokens)
        self.document_end = tokenizer.end_of_text_id if config.data.windows == "documents" else None
        self.batches = TrainingBatches(
            train_tokens, context, train.batch_size, config.run.seed, self.ignored, self.document_end
        )
        self.val_tokens = val_tokens
        self.token_bytes = torch.from_numpy(tokenizer.token_bytes())
        self.moments = {"adamw": 2, "adam": 2, "muon": 1, "sgd": 1}[config.optim.name]
        own = train.batch_size // ranks.world_size
        auto = train.micro_batch_size == "auto"
        self.micro_batch_size = (
            largest_micro_batch(self.model, own, self.moments, device)
            if auto
            else min(own, int(train.micro_batch_size))
        )
        self.step = 0
        self.saved_step: int | None = None
        self.elapsed_before = 0.0
        self.started = time.perf_counter()

    @property
    def total_steps(self) -> int:
        """How many steps the whole run has."""
        return self.config.train.max_steps

    @property
    def tokens_per_step(self) -> int:
        """Positions that go through the model in a step, over all ranks."""
        return self.config.train.batch_size * self.config.model.context_length

    def elapsed(self) -> float:
        """Seconds of work in this run, those before an interruption counted in."""
        return self.elapsed_before + time.perf_counter() - self.started

    def resume(self, checkpoint: Path) -> None:
        """Go on from a checkpoint as if nothing had happened."""
        state = restore(checkpoint, self.model, self.optimizers)
        self.step = self.saved_step = state["step"]
        self.elapsed_before = state["elapsed"]
        if self.config.train.micro_batch_size == "auto" and state["world_size"] == self.ranks.world_size:
            self.micro_batch_size = state["micro_batch_size"]  # another one would round differently

    def run(self, stop_asked: Callable[[], bool], val_losses: Mapping[int, float]) -> Iterator[Report]:
        """Train to the end, yielding a report of everything that happens.

        A checkpoint is saved before the evaluation of the same step, so that a crash in the evaluation costs nothing.

        Args:
            stop_asked: looked at after each step; True ends the run with a checkpoint and an `InterruptedReport`.
            val_losses: validation loss by step, of the steps before; they tell which checkpoint is the best so far.

        Raises:
            OutOfMemoryError: says on what the memory went, and which key to change.
        """
        try:
            yield from self._run(stop_asked, val_losses)
        except (RuntimeError, MemoryError) as error:
            if is_out_of_memory(error):
                raise out_of_memory(self.model, self.micro_batch_size, self.moments, self.device) from error
            raise

    def _run(self, stop_asked: Callable[[], bool], val_losses: Mapping[int, float]) -> Iterator[Report]:
        train = self.config.train
        losses = dict(val_losses)
        model = self._prepare_model()
        meter = SpeedMeter(
            self.device, self.tokens_per_step, self.model.flops_per_token(), self.ranks.world_size
        )
        meter.restart(self.step)
        if self.step and self._is_evaluated(self.step) and self.step not in losses:
            yield self._evaluate(losses)
        while self.step < self.total_steps:
            if stop_asked() and self.ranks.world_size == 1:
                yield from self._save(losses)
                yield InterruptedReport(self.step)
                return
            step = self.step + 1
            is_logged = step % train.log_every == 0 or step in (1, self.total_steps)
            result, lr, batch_hash = self._take_step(model, step, meter, stop_asked(), is_logged)
            if not result.is_finite:
                yield DivergedReport(step, result.loss, result.grad_norm)
                return
            self.step = step
            if is_logged:
                yield meter.report(step, result, lr, batch_hash, self.elapsed())
            is_last = step == self.total_steps
            if result.stop_asked and not is_last:
                yield from self._save(losses)
                yield InterruptedReport(step)
                return
            if is_last or step % train.save_every == 0:
                yield from self._save(losses)
            if self._is_evaluated(step):
                yield self._evaluate(losses)
                meter.restart(step)

    def _prepare_model(self) -> nn.Module:
        self.model.train()
        compile_it = self.config.train.compile
        if compile_it == "auto":
            compile_it = self.device.is_cuda
        model: nn.Module = torch.compile(self.model) if compile_it else self.model  # type: ignore[assignment]
        return share_gradients(model, self.ranks)

    def _take_step(
        self, model: nn.Module, step: int, meter: SpeedMeter, stop_asked: bool, with_hash: bool
    ) -> tuple[StepResult, float, str]:
        waiting_since = time.perf_counter()
        batch = self.batches.batch(step)
        batch_hash = batch.hash() if with_hash else ""
        meter.waited += time.perf_counter() - waiting_since
        lr = learning_rate(step, self.config.optim, self.total_steps)
        result = train_step(
            model,
            self.optimizers,
            batch,
            lr=lr,
            grad_clip=self.config.optim.grad_clip,
            micro_batch_size=self.micro_batch_size,
            device=self.device,
            ranks=self.ranks,
            stop_asked=stop_asked,
        )
        return result, lr, batch_hash

    def _is_evaluated(self, step: int) -> bool:
        due = step % self.config.train.eval_every == 0 or step == self.total_steps
        return due and self.val_tokens.num_tokens > 1

    def _evaluate(self, losses: dict[int, float]) -> EvalReport:
        result = self.evaluate()
        losses[self.step] = result.loss
        if self.ranks.is_main:  # now it is known whether an older one is still the best
            remove_old(self.checkpoints, self.config.train.keep, losses)
        return EvalReport(self.step, result.loss, result.bits_per_byte, self.elapsed())

    def evaluate(self) -> Evaluation:
        """Loss and bits per byte over the validation split, or over `train.eval_tokens` of it."""
        context = self.config.model.context_length
        size = max(1, min(2 * self.micro_batch_size, 8192 // context))  # without gradients twice as many fit
        batches = evaluation_batches(
            self.val_tokens, context, size, self.config.train.eval_tokens, self.ignored, self.document_end
        )
        return evaluate(self.model, batches, self.token_bytes, self.device, self.ranks)

    def _save(self, losses: Mapping[int, float]) -> Iterator[Report]:
        path = self.checkpoints / f"step-{self.step:08d}"
        if self.ranks.is_main and self.saved_step != self.step:
            state: dict[str, Any] = {
                "tokens": self.step * self.tokens_per_step,
                "elapsed": self.elapsed(),
                "micro_batch_size": self.micro_batch_size,
                "world_size": self.ranks.world_size,
                "data_hash": self.data_hash,
                "torch": torch.__version__,
            }
            save_checkpoint(
                self.checkpoints,
                self.step,
                self.model,
                self.optimizers,
                state,
                self.config_yaml,
                self.tokenizer,
            )
            remove_old(self.checkpoints, self.config.train.keep, dict(losses))
        self.saved_step = self.step
        self.ranks.wait()
        yield SavedReport(self.step, path)
