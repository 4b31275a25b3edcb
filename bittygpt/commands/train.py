"""`bittygpt train`: from a config to a finished run, whether it starts, goes on or is done already."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from bittygpt.commands.tokenize import describe
from bittygpt.config import RunConfig, config_to_yaml, fit_differences, load_config
from bittygpt.core import ModelConfig, TransformerLM
from bittygpt.data.prepare import PreparedTokens, prepare_tokens
from bittygpt.errors import ConfigError, DivergedError, InterruptedRunError
from bittygpt.files import write_text
from bittygpt.terminal.console import duration, result, talk
from bittygpt.terminal.preparation import PreparationProgress
from bittygpt.terminal.run_log import RunLog
from bittygpt.terminal.training import TrainingDisplay
from bittygpt.training.checkpoint import read_state
from bittygpt.training.checkpoint_folder import clean_up, newest_good
from bittygpt.training.devices import Device, choose_device
from bittygpt.training.distributed import Ranks, process_group, ranks_from_environment
from bittygpt.training.fine_tuning import freeze_all_but, start_from
from bittygpt.training.loop import Trainer
from bittygpt.training.reports import DivergedReport, InterruptedReport
from bittygpt.training.run_folder import RunFolder
from bittygpt.training.stop_signals import stop_on_signal

STOPPING = "stopping after this step with a checkpoint; once more to stop at once"


def train(config_path: Path, overrides: Sequence[str], *, fresh: bool, as_json: bool) -> None:
    """Train what the config describes, to the end."""
    config = load_config(config_path, overrides)
    ranks = ranks_from_environment()
    if config.train.batch_size % ranks.world_size:
        raise ConfigError(
            f"train.batch_size: {config.train.batch_size} sequences cannot be shared out evenly among "
            f"{ranks.world_size} ranks; make it a multiple of {ranks.world_size}"
        )
    device = choose_device(config.train.device, config.train.precision, ranks.local_rank)
    run = RunFolder(Path(config.run.dir) / config.run.name)
    with process_group(ranks, device.torch_device.type):
        try:
            tokens = _prepare(config, ranks)
            trainer = _set_up(config, run, tokens, device, ranks, fresh)
        except KeyboardInterrupt:
            raise InterruptedRunError(
                "interrupted before the first step; run the same command again"
            ) from None
        if trainer is not None:
            _follow(trainer, run, ranks, as_json)
    if ranks.is_main:
        _conclude(run, as_json)


def _prepare(config: RunConfig, ranks: Ranks) -> PreparedTokens:
    """The tokens; rank 0 makes them, the others wait and read."""
    if ranks.is_main:
        with PreparationProgress() as progress:
            tokens, made = prepare_tokens(config, progress)
        if made:
            for line in describe(tokens):
                talk(line)
    ranks.wait()
    return tokens if ranks.is_main else prepare_tokens(config, lambda *_: None)[0]


def _set_up(
    config: RunConfig, run: RunFolder, tokens: PreparedTokens, device: Device, ranks: Ranks, fresh: bool
) -> Trainer | None:
    """A trainer at its first step or where the run stopped; None when the run is finished."""
    if ranks.is_main:
        if fresh:
            run.set_aside(lambda old: talk(f"the old run is kept as {old}"))
        clean_up(run.checkpoints)
    ranks.wait()
    checkpoint = newest_good(run.checkpoints, talk if ranks.is_main else lambda _: None)
    state = _read_fitting(checkpoint, config, tokens) if checkpoint else None
    if (
        state is not None
        and state["step"] >= config.train.max_steps
        and run.read_status().get("state") == "finished"
    ):
        if ranks.is_main:
            talk(f"{run.path} is finished; --fresh starts it over")
        return None

    torch.manual_seed(config.run.seed)
    model = TransformerLM(model_config(config, tokens.tokenizer.vocab_size))
    if checkpoint is None and config.train.init_from:
        start_from(model, tokens.tokenizer, config.train.init_from, talk)
    freeze_all_but(model, config.train.trainable)
    yaml = config_to_yaml(config)
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
        yaml,
    )
    if checkpoint is not None:
        trainer.resume(checkpoint)
    if ranks.is_main:
        write_text(run.config, yaml)
        run.forget_after(trainer.step)
        _introduce(trainer, run)
    ranks.wait()
    return trainer


def model_config(config: RunConfig, vocab_size: int) -> ModelConfig:
    """The shape of the model that the `model:` section and a vocabulary describe."""
    return ModelConfig(vocab_size=vocab_size, **config.model.model_dump())


def _read_fitting(checkpoint: Path, config: RunConfig, tokens: PreparedTokens) -> dict[str, Any]:
    """The state of a checkpoint that the config and the tokens of today fit.

    Raises:
        ConfigError: they do not.
    """
    state = read_state(checkpoint)
    differences = fit_differences(load_config(checkpoint / "config.yaml"), config)
    if state["data_hash"] != tokens.hash():
        differences.append("data: the checkpoint was trained on other tokens")
    if differences:
        raise ConfigError(
            f"{checkpoint} does not fit the config:\n  " + "\n  ".join(differences) + "\n"
            "put the config back, give the run another run.name, or start over with --fresh (the old run is kept)"
        )
    return state


def _introduce(trainer: Trainer, run: RunFolder) -> None:
    device, batch = trainer.device, trainer.config.train.batch_size
    passes = -(-batch // (trainer.micro_batch_size * trainer.ranks.world_size))
    talk(
        f"{run.path}: {trainer.model.num_parameters():,} parameters on {device.torch_device} in {device.precision}, "
        f"{trainer.ranks.world_size} rank{'s' if trainer.ranks.world_size > 1 else ''}; "
        f"{trainer.total_steps:,} steps of {trainer.tokens_per_step:,} tokens "
        f"({passes} forward pass{'es' if passes > 1 else ''} a step), "
        f"{trainer.batches.epoch(trainer.total_steps):.2f} passes over the text"
    )
    if trainer.val_tokens.num_tokens < 2:
        talk("no validation: no document fell into it; give data.val, or a greater data.val_fraction")
    if trainer.step:
        talk(f"going on after step {trainer.step:,}")


def _follow(trainer: Trainer, run: RunFolder, ranks: Ranks, as_json: bool) -> None:
    """Run the trainer to its end, and show, log and draw what it reports."""
    display = TrainingDisplay(trainer.total_steps, trainer.step, show=ranks.is_main)
    log = RunLog(run, trainer, display, _to_stdout if as_json else None) if ranks.is_main else None
    try:
        with display, stop_on_signal(lambda: display.stopping(STOPPING)) as signals:
            for report in trainer.run(lambda: bool(signals), run.validation_losses()):
                if log is not None:
                    log.take(report)
                if isinstance(report, InterruptedReport):
                    raise InterruptedRunError(
                        f"interrupted after step {report.step}; run the same command to go on"
                    )
                if isinstance(report, DivergedReport):
                    raise DivergedError(_divergence_message(report, run))
    except (Exception, KeyboardInterrupt) as error:
        if log is not None:
            states = {"InterruptedRunError": "interrupted", "DivergedError": "diverged"}
            log.write_status(states.get(type(error).__name__, "failed"), error=str(error))
        raise
    if log is not None:
        log.write_status("finished")
        log.draw()


def _to_stdout(event: dict[str, Any]) -> None:
    result(json.dumps(event))


def _divergence_message(report: DivergedReport, run: RunFolder) -> str:
    good = newest_good(run.checkpoints, lambda _: None)
    return (
        f"training diverged: at step {report.step} the loss is {report.loss} and the gradient norm "
        f"{report.grad_norm}; the last good checkpoint is {good or 'none, it was too early'}; "
        "try a lower optim.lr, a longer optim.warmup_steps or a smaller optim.grad_clip"
    )


def _conclude(run: RunFolder, as_json: bool) -> None:
    """The result of a finished run, on stdout."""
    steps = [event for event in run.events() if event["event"] == "step"]
    evals = [event for event in run.events() if event["event"] == "eval"]
    checkpoint = newest_good(run.checkpoints, lambda _: None)
    if as_json:
        result(
            json.dumps(
                {
                    "event": "finished",
                    "run": str(run.path),
                    "checkpoint": str(checkpoint),
                    **run.read_status(),
                }
            )
        )
        return
    line = f"{run.path}: finished after {steps[-1]['step']:,} steps in {duration(steps[-1]['elapsed'])}"
    if evals:
        best = min(evals, key=lambda event: event["val_loss"])
        line += f"; val loss {evals[-1]['val_loss']:.4f} ({evals[-1]['val_bpb']:.3f} bits per byte)"
        line += f", best {best['val_loss']:.4f} at step {best['step']:,}"
    result(line)
    talk(f"now: bittygpt sample --ckpt {run.path}")
