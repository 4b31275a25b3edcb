"""Everything before the first step of `bittygpt train`: tokens, model, and where the run stands."""

from functools import partial
from pathlib import Path
from typing import Any

import torch

from bittygpt.commands.tokenize import describe
from bittygpt.config import RunConfig, config_to_yaml, fit_differences, load_config
from bittygpt.core import ModelConfig, TransformerLM
from bittygpt.data.preparation.prepare import prepare_tokens, read_prepared
from bittygpt.data.prepared import PreparedTokens
from bittygpt.engine.accelerate import notes_on_changes
from bittygpt.engine.formulas import by_file, unlike
from bittygpt.engine.kernels import cpu
from bittygpt.engine.uninitialized import uninitialized_model
from bittygpt.errors import ConfigError
from bittygpt.files import remove_leftovers, write_text
from bittygpt.terminal.console import duration, log
from bittygpt.terminal.preparation import PreparationProgress
from bittygpt.training.checkpoints.checkpoint import read_state
from bittygpt.training.checkpoints.checkpoint_folder import clean_up, list_checkpoints, quarantine_damaged
from bittygpt.training.checkpoints.run_folder import RunFolder
from bittygpt.training.devices.device import Device
from bittygpt.training.devices.memory import exceeds_memory, memory_explained, out_of_memory
from bittygpt.training.distributed.ranks import Ranks
from bittygpt.training.fine_tuning import freeze_all_but, start_from
from bittygpt.training.loop import Trainer
from bittygpt.training.optimizers import moments_per_weight
from bittygpt.training.timing.progress import StepProgress, has_ended

LARGE = 100_000_000  # parameters, which take seconds to be drawn


def prepare(config: RunConfig, ranks: Ranks) -> PreparedTokens:
    """The tokens; rank 0 makes them, the others wait and read."""
    if ranks.is_main:
        with PreparationProgress() as progress:
            tokens, made = prepare_tokens(config, progress)
        if made:
            for line in describe(tokens):
                log(line)
    ranks.wait()
    return tokens if ranks.is_main else read_prepared(config)


def set_up(
    config: RunConfig, run: RunFolder, tokens: PreparedTokens, device: Device, ranks: Ranks
) -> Trainer | None:
    """A trainer at its first step or where the run stopped; None when the run is finished."""
    if ranks.is_main:
        clean_up(run.checkpoints)
        remove_leftovers(run.path)
        quarantine_damaged(run.checkpoints, log)
    checkpoints = list_checkpoints(run.checkpoints)  # of which the newest is good, or it would be set aside
    checkpoint = ranks.broadcast(checkpoints[0][1] if checkpoints else None)
    state = read_fitting(checkpoint, config, tokens) if checkpoint else None
    if (
        state is not None
        and has_ended(config, state)
        and ranks.broadcast(run.read_status().get("state") == "finished")
    ):
        if ranks.is_main:
            log(f"{run.path} is finished; --fresh starts it over")
        return None

    on_paper, moments = _without_numbers(config, tokens), moments_per_weight(config.optim)
    too_large = partial(out_of_memory, on_paper, 1, moments, device)
    if ranks.world_size == 1 and exceeds_memory(on_paper, moments, device):
        raise too_large()
    if ranks.is_main and on_paper.num_parameters() > LARGE:
        log(f"building a model of {on_paper.num_parameters():,} parameters")
    with memory_explained(too_large):
        trainer = _build(config, run, tokens, device, ranks, checkpoint)
    if ranks.is_main:
        write_text(run.config, config_to_yaml(config))
        _introduce(trainer, run)
    ranks.wait()
    return trainer


def _build(
    config: RunConfig,
    run: RunFolder,
    tokens: PreparedTokens,
    device: Device,
    ranks: Ranks,
    checkpoint: Path | None,
) -> Trainer:
    """The trainer, its model as the checkpoint has it, if there is one."""
    torch.manual_seed(config.run.seed)
    model = TransformerLM(_model_config(config, tokens.tokenizer.vocab_size))
    if checkpoint is None and config.train.init_from:
        start_from(model, tokens.tokenizer, config.train.init_from, log)
    freeze_all_but(model, config.train.trainable)
    trainer = Trainer(
        config,
        model,
        tokens.tokenizer,
        tokens.split("train"),
        tokens.split("val"),
        tokens.hash(),
        device,
        ranks,
        run.checkpoints,
        config_to_yaml(config),
    )
    if checkpoint is not None:
        trainer.resume(checkpoint)
    return trainer


def _without_numbers(config: RunConfig, tokens: PreparedTokens) -> TransformerLM:
    """The model on the meta device: shapes without memory."""
    model = uninitialized_model(_model_config(config, tokens.tokenizer.vocab_size))
    freeze_all_but(model, config.train.trainable)
    return model


def _model_config(config: RunConfig, vocab_size: int) -> ModelConfig:
    """The shape of the model that the `model:` section and a vocabulary describe."""
    return ModelConfig(vocab_size=vocab_size, **config.model.model_dump())


def read_fitting(checkpoint: Path, config: RunConfig, tokens: PreparedTokens | None) -> dict[str, Any]:
    """The state of a checkpoint; raises where config, formulas or tokens (None: not compared) do not fit it.

    Raises:
        ConfigError: they do not.
    """
    state = read_state(checkpoint)
    differences = fit_differences(load_config(checkpoint / "config.yaml"), config)
    if tokens is not None and state["data_hash"] != tokens.hash():
        differences.append("data: the checkpoint was trained on other tokens")
    formulas = by_file(unlike(state.get("formulas", {})), "core/{}: {}: another formula than in training")
    if differences or formulas:
        what = " and ".join(["the config"] * bool(differences) + ["today's formulas"] * bool(formulas))
        old = "them" if formulas else "the config"
        raise ConfigError(
            f"{checkpoint} does not fit {what}:\n  " + "\n  ".join(differences + formulas) + "\n"
            f"put {old} back, give the run another run.name, or start over with --fresh (the old run is kept)"
        )
    return state


def _introduce(trainer: Trainer, run: RunFolder) -> None:
    device, batch = trainer.device, trainer.config.train.batch_size
    is_open = len(trainer.executor.sizes) > 1 and device.refuses_memory
    precision = f"{device.precision} ({device.note})" if device.note else device.precision
    steps = trainer.config.train.max_steps
    passes = -(-batch // (trainer.executor.micro_batch_size * trainer.ranks.world_size))
    log(
        f"{run.path}: {trainer.model.num_parameters():,} parameters on {device.torch_device} in {precision}, "
        f"{trainer.ranks.world_size} rank{'s' if trainer.ranks.world_size > 1 else ''}; "
        f"{_length(trainer)} of {trainer.tokens_per_step:,} tokens "
        f"({'as many at once as fit' if is_open else f'{passes} forward pass' + 'es' * (passes > 1) + ' a step'})"
        + (f", {trainer.batches.epoch(steps):.2f} passes over the text" if steps else "")
    )
    for line in notes_on_changes():
        log(line)
    if device.torch_device.type == "cpu" and not cpu.work_in(torch.float32):
        log("slower without kernels for the CPU, which take Linux and a C compiler (cc, gcc or $CC)")
    if trainer.validation.tokens.num_tokens < 2:
        log("no validation: no document fell into it; give data.val, or a greater data.val_fraction")
    if trainer.step:
        log(f"going on after step {trainer.step:,}")


def _length(trainer: Trainer) -> str:
    steps, progress = trainer.config.train.max_steps, trainer.progress
    if isinstance(progress, StepProgress):
        return f"{steps:,} step{'s' * (steps != 1)}"
    left = f"{duration(progress.seconds_left() or 0)} left of {duration(progress.seconds)}"
    return f"{left}, in steps" if steps is None else f"{left}, or {steps:,} steps if they come first,"
