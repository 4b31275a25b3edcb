"""`bittygpt train`: from a config to a finished run, whether it starts, goes on or is done already."""

import json
import os
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from bittygpt.commands.train_samples import TrainingSamples
from bittygpt.commands.train_setup import prepare, set_up
from bittygpt.config import load_config
from bittygpt.engine.allocator import keep_freed_memory
from bittygpt.errors import ConfigError, DivergedError, InterruptedRunError
from bittygpt.report.page import write_report
from bittygpt.stop_signals import stop_on_signal
from bittygpt.terminal.baselines import BaselineLoss, baselines_of, compare_with
from bittygpt.terminal.console import duration, log, result_of_run
from bittygpt.terminal.training import TrainingDisplay
from bittygpt.tracking.loggers import Loggers, check_loggers, open_loggers
from bittygpt.tracking.run_log import RunLog
from bittygpt.training.checkpoints.checkpoint_folder import newest_good
from bittygpt.training.checkpoints.run_folder import RunFolder
from bittygpt.training.checkpoints.run_lock import open_run
from bittygpt.training.devices.device import choose_device
from bittygpt.training.distributed.error_propagation import propagate_errors
from bittygpt.training.distributed.ranks import Ranks, process_group, ranks_from_environment
from bittygpt.training.events import DivergedReport, InterruptedReport, SampleDueReport
from bittygpt.training.loop import Trainer

STOPPING = "stopping after this step with a checkpoint; once more to stop at once"


def train(config_path: Path, overrides: Sequence[str], *, fresh: bool, as_json: bool) -> None:
    """Train what the config describes, to the end."""
    config = load_config(config_path, overrides)
    check_loggers(config.train.tensorboard, config.train.wandb)
    ranks = ranks_from_environment()
    if config.train.batch_size % ranks.world_size:
        raise ConfigError(
            f"train.batch_size: {config.train.batch_size} sequences cannot be shared out evenly among "
            f"{ranks.world_size} ranks; make it a multiple of {ranks.world_size}"
        )
    device = choose_device(config.train.device, config.train.precision, ranks.local_rank)
    if not device.is_cuda:
        keep_freed_memory()
    run = RunFolder(Path(config.run.dir).expanduser() / config.run.name)
    # started again by torchrun, the run of the same command is to go on
    fresh = fresh and os.environ.get("TORCHELASTIC_RESTART_COUNT", "0") == "0"
    with (
        process_group(ranks, device.torch_device) as store,
        propagate_errors(store, ranks, _say_of(run)),
        open_run(run, fresh, log) if ranks.is_main else nullcontext(),
    ):
        device = replace(device, memory=ranks.smallest(device.total_memory()))  # so that all decide alike
        tokens = prepare(config, ranks)
        trainer = set_up(config, run, tokens, device, ranks)
        if trainer is not None:
            baselines = baselines_of(tokens.manifest)
            command = "the same command without --fresh" if fresh else "the same command"
            _follow(trainer, run, ranks, as_json, command, baselines)
    if ranks.is_main:
        _conclude(run, as_json)


def _say_of(run: RunFolder) -> Callable[[str, int], None]:
    """Makes the function by which rank 0 reports another rank's error and its exit code."""

    def say(message: str, code: int) -> None:
        log(f"bittygpt: {message}")
        state = "interrupted" if code == InterruptedRunError.exit_code else "failed"
        if (status := run.read_status()).get("state") == "running":
            run.write_status(**{**status, "state": state, "error": message})

    return say


def _follow(
    trainer: Trainer,
    run: RunFolder,
    ranks: Ranks,
    as_json: bool,
    command: str,
    baselines: Sequence[BaselineLoss],
) -> None:
    """Run the trainer to its end, and show, log and draw what it reports."""
    if ranks.is_main and baselines:
        log(
            "simple models lose, in nats per token: "
            + ", ".join(f"{name} {loss:.2f}" for name, loss in baselines)
        )
    display = TrainingDisplay(
        lambda: trainer.total_steps, trainer.step, ranks.is_main, baselines, trainer.progress.seconds_left
    )
    loggers, run_log = Loggers(display.say), None
    if ranks.is_main:
        open_loggers(loggers, run, trainer)
        listeners = [*([_to_stdout] if as_json else []), loggers.take]
        run_log = RunLog(
            run, trainer, display, listeners, baselines, lambda: write_report([run.path], run.page)
        )
        run_log.begin()
    samples = TrainingSamples(trainer, display.say)
    try:
        with display, stop_on_signal(lambda: display.stopping(STOPPING)) as stop_asked:
            before_save = partial(_sync, run_log, loggers) if run_log is not None else lambda: None
            if stop_asked():  # its Interruption was lost in the code of a library, which may be no good now
                raise InterruptedRunError(f"interrupted; run {command} again")
            val_losses = ranks.broadcast(run.validation_losses())
            for report in trainer.run(stop_asked, val_losses, before_save):
                if run_log is not None:
                    run_log.take(report)
                    if isinstance(report, SampleDueReport):
                        for sample in samples.write(stop_asked):
                            run_log.take(sample)
                if isinstance(report, InterruptedReport):
                    raise InterruptedRunError(f"interrupted after step {report.step}; run {command} to go on")
                if isinstance(report, DivergedReport):
                    raise DivergedError(_divergence_message(report, run))
        before_save()
    except Exception as error:
        if run_log is not None:
            states: dict[type, str] = {InterruptedRunError: "interrupted", DivergedError: "diverged"}
            run_log.write_status(states.get(type(error), "failed"), error=str(error))
            run_log.draw(
                with_plot=type(error) in states
            )  # what failed may lack the memory or the disk for it
        raise
    finally:
        loggers.close()
    if run_log is not None:
        run_log.write_status("finished")
        run_log.draw()


def _sync(log: RunLog, loggers: Loggers) -> None:
    """Flush all that was reported to the disk, before a checkpoint that relies on it."""
    log.sync()
    loggers.flush()


def _to_stdout(event: dict[str, Any]) -> None:
    result_of_run(json.dumps(event))


def _divergence_message(report: DivergedReport, run: RunFolder) -> str:
    good = newest_good(run.checkpoints, lambda _: None)
    return (
        f"training diverged: at step {report.step} {report.reason}; "
        f"the last good checkpoint is {good or 'none, it was too early'}; "
        "try a lower optim.lr, a longer optim.warmup_steps or a smaller optim.grad_clip"
    )


def _conclude(run: RunFolder, as_json: bool) -> None:
    """The result of a finished run, on stdout."""
    status = run.read_status()
    if as_json:
        checkpoint = newest_good(run.checkpoints, lambda _: None)
        result_of_run(
            json.dumps(
                {
                    "event": "finished",
                    "run": str(run.path),
                    "checkpoint": str(checkpoint),
                    **status,
                }
            )
        )
        return
    events = list(run.events())
    steps = [event for event in events if event["event"] == "step"]
    evals = [event for event in events if event["event"] == "eval"]
    line = f"{run.path}: finished after {status['step']:,} steps"
    if steps:
        line += f" in {duration(steps[-1]['elapsed'])}"
    if evals:
        best = min(evals, key=lambda event: event["val_loss"])
        bits = "" if evals[-1]["val_bpb"] is None else f" ({evals[-1]['val_bpb']:.3f} bits per byte)"
        line += f"; val loss {evals[-1]['val_loss']:.4f}{bits}"
        line += f", best {best['val_loss']:.4f} at step {best['step']:,}"
        starts = [event["ladder"] for event in events if event.get("ladder")]  # one for each start
        baselines = [BaselineLoss(**baseline) for baseline in starts[-1]] if starts else []
        if place := compare_with(baselines, evals[-1]["val_loss"]):
            line += f"; {place}"
    result_of_run(line)
    log(f"now: bittygpt sample --ckpt {run.path}")
