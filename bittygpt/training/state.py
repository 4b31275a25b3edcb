"""A run in progress: its model and data, its clock, and how far it has come."""

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch

from bittygpt.config import RunConfig
from bittygpt.core import TransformerLM
from bittygpt.data.batches import TrainingBatches
from bittygpt.data.shards import TokenSplit
from bittygpt.engine.cuda_graphs import CAPTURED
from bittygpt.tokenizer.tokenizer import Tokenizer
from bittygpt.training.checkpoints.saving import Saver
from bittygpt.training.devices.device import Device
from bittygpt.training.distributed.ranks import Ranks
from bittygpt.training.divergence import NOTHING_YET, DivergenceGuard
from bittygpt.training.executor import Executor
from bittygpt.training.prefetch import Prefetcher
from bittygpt.training.timing.process_clock import process_age
from bittygpt.training.timing.progress import StepProgress
from bittygpt.training.timing.step_timer import StepTimer
from bittygpt.training.timing.throughput import ThroughputMeter
from bittygpt.training.timing.time_budget import BudgetProgress
from bittygpt.training.validation import Validation


class TrainingState:
    """The executor, the data, the checkpoints and the counters of a run."""

    def __init__(
        self,
        config: RunConfig,
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
        self.prefetcher = Prefetcher(self.batches.batch, pin=device.is_cuda)
        token_bytes = torch.from_numpy(tokenizer.token_bytes())
        self.validation = Validation(config, val_tokens, token_bytes, ignored, document_end=end)
        self.val_losses: dict[int, float] = {}
        self.meter = ThroughputMeter(device, self.tokens_per_step, model.flops_per_token(), ranks.world_size)
        self.timer = StepTimer(clock, cold=CAPTURED if device.is_cuda else 1)
        self.progress: StepProgress | BudgetProgress = (
            StepProgress(config, self.timer)
            if train.time_budget is None
            else BudgetProgress(config, self.timer, clock, ranks.is_main)
        )
        self.step = 0
        self._elapsed_before, self._started = 0.0, time.perf_counter()

    @property
    def total_steps(self) -> int | None:
        """Optimizer steps of the whole run; with a time budget a forecast, None before there is one."""
        return self.progress.total_steps

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
        self.load_state(state)
        self._elapsed_before = state["elapsed"]
        self.progress.restore(state)
        if state["world_size"] == self.ranks.world_size:
            self.executor.fix_micro_batch_size(state["micro_batch_size"])

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Set the counters to those of a checkpoint."""
        self.step = state["step"]
        self.guard.restore(state.get("divergence", NOTHING_YET))
