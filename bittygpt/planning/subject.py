"""The input of a plan (a config, its tokens, how far its run is), and the measured steps of that run."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch

from bittygpt.config import RunConfig
from bittygpt.core import ModelConfig, TransformerLM
from bittygpt.data.batches import Batch, TrainingBatches
from bittygpt.data.preparation.expected_tokens import ExpectedTokens, first_shard
from bittygpt.engine.uninitialized import uninitialized_model
from bittygpt.planning.measure import Measured, measure
from bittygpt.training.checkpoints.run_folder import RunFolder
from bittygpt.training.devices.device import Device
from bittygpt.training.distributed.ranks import Ranks
from bittygpt.training.executor import Executor
from bittygpt.training.fine_tuning import freeze_all_but, start_from


@dataclass(frozen=True)
class Subject:
    """What is planned: a config, its run and tokens, where the run stands, and a model that has only a shape.

    `config_bytes`: of its `config.yaml`. `micro_batch_size`: that of the checkpoint that the run goes on from, None at
    the start.
    """

    config: RunConfig
    config_bytes: int
    run: RunFolder
    tokens: ExpectedTokens
    step: int
    micro_batch_size: int | None
    say: Callable[[str], None]
    elapsed: float = 0.0  # seconds that the run has worked already
    is_finished: bool = False

    def ending_at(self, last_step: int) -> "Subject":
        """The same with a number of steps, where a clock would have ended it."""
        train = self.config.train
        if train.time_budget is None:
            return self
        train = train.model_copy(update={"max_steps": last_step})
        return replace(self, config=self.config.model_copy(update={"train": train}))

    @property
    def shape(self) -> ModelConfig:
        """Of the model."""
        return ModelConfig(vocab_size=self.tokens.vocab_size, **self.config.model.model_dump())

    def shape_only_model(self) -> TransformerLM:
        """A model of the run's shape without numbers, frozen where the run's is."""
        model = uninitialized_model(self.shape)
        freeze_all_but(model, self.config.train.trainable)
        return model


def measure_steps(subject: Subject, device: Device) -> Measured:
    """Build what the run would build on a device, and time some steps of it.

    Raises:
        OutOfMemoryError: they do not fit.
        ConfigError: `train.init_from` is another model.
    """
    config = subject.config
    subject.say("measuring some steps, which change nothing")
    torch.manual_seed(config.run.seed)
    model = TransformerLM(subject.shape)
    if subject.step == 0 and config.train.init_from and subject.tokens.on_disk is not None:
        start_from(model, subject.tokens.on_disk.tokenizer, config.train.init_from, subject.say)
    freeze_all_but(model, config.train.trainable)
    executor = Executor(config, model, device, Ranks())
    if subject.micro_batch_size is not None:
        executor.fix_micro_batch_size(subject.micro_batch_size)
    if executor.compile_it:
        subject.say("compiling the model, as the run would")
    batch, vocab_size = _batch(subject), subject.tokens.vocab_size
    return measure(executor, batch, vocab_size, at_start=subject.step == 0, say=subject.say)


def _batch(subject: Subject) -> Batch:
    """The next one of the run; of random tokens where there are no others yet."""
    config, tokens = subject.config, subject.tokens.on_disk
    size, length = config.train.batch_size, config.model.context_length
    if tokens is None:
        generator = torch.Generator().manual_seed(0)
        ids = torch.randint(subject.tokens.vocab_size, (size, length + 1), generator=generator)
        return Batch(ids[:, :-1].clone(), ids[:, 1:].clone())
    end = tokens.tokenizer.end_of_text_id if config.data.windows == "documents" else None
    batches = TrainingBatches(first_shard(tokens, "train"), length, size, config.run.seed, document_end=end)
    return batches.batch(subject.step + 1)
