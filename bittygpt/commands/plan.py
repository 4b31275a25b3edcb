"""`bittygpt train --plan`: what a run will take, before it is begun. Nothing is written."""

import json
from collections.abc import Sequence
from pathlib import Path

from bittygpt.commands.train_setup import read_fitting
from bittygpt.config import RunConfig, config_to_yaml, load_config
from bittygpt.data.preparation.expected_tokens import expect_tokens
from bittygpt.engine.accelerate import notes_on_changes
from bittygpt.engine.allocator import keep_freed_memory
from bittygpt.errors import ConfigError
from bittygpt.planning.build import plan_for, plan_here
from bittygpt.planning.estimate import device_by_name, hardware
from bittygpt.planning.plan import Plan
from bittygpt.planning.subject import Subject
from bittygpt.terminal.console import log, result
from bittygpt.terminal.plan import plan_as_json, show_plan
from bittygpt.training.checkpoints.checkpoint_folder import list_checkpoints
from bittygpt.training.checkpoints.run_folder import RunFolder
from bittygpt.training.devices.device import choose_device
from bittygpt.training.distributed.ranks import ranks_from_environment
from bittygpt.training.timing.progress import has_ended


def plan(
    config_path: Path,
    overrides: Sequence[str],
    *,
    fresh: bool,
    as_json: bool,
    world_size: int | None,
    device_name: str | None,
    bandwidth: float | None,
    mfu: float | None,
) -> None:
    """Plan the run that the config describes, from where it stands.

    Raises:
        ConfigError: the plan shows that the run cannot work; it is printed all the same.
    """
    config = load_config(config_path, overrides)
    if ranks_from_environment().world_size > 1:
        raise ConfigError("--plan takes one process; to plan for several, give --world-size without torchrun")
    for line in notes_on_changes():
        log(line)
    made = _make(_subject(config, fresh), world_size, device_name, bandwidth, mfu)
    if as_json:
        result(json.dumps(plan_as_json(made)))
    else:
        show_plan(made)
    if made.faults:
        raise ConfigError("by this plan the run cannot work:\n  " + "\n  ".join(made.faults))


def _make(
    subject: Subject,
    world_size: int | None,
    device_name: str | None,
    bandwidth: float | None,
    mfu: float | None,
) -> Plan:
    train = subject.config.train
    if device_name is not None:
        device = device_by_name(device_name, train.precision)
        return plan_for(subject, hardware(device, world_size or 1, bandwidth, mfu))
    device = choose_device(train.device, train.precision)
    if not device.is_cuda:
        keep_freed_memory()
    if world_size is None:
        return plan_here(subject, device)
    return plan_for(subject, hardware(device, world_size, bandwidth, mfu))


def _subject(config: RunConfig, fresh: bool) -> Subject:
    """The run from its newest checkpoint on, or a new one.

    A run in progress is not held up, and its checkpoints are not read but for their `state.json`.

    Raises:
        ConfigError: the config does not fit the checkpoint.
    """
    run = RunFolder(Path(config.run.dir).expanduser() / config.run.name)
    tokens, config_bytes = expect_tokens(config), len(config_to_yaml(config).encode())
    checkpoints = [] if fresh else list_checkpoints(run.checkpoints)
    if not checkpoints:
        return Subject(config, config_bytes, run, tokens, 0, None, log)
    state = read_fitting(checkpoints[0][1], config, tokens.on_disk)
    going_on = state["step"], state["micro_batch_size"]
    return Subject(
        config, config_bytes, run, tokens, *going_on, log, state["elapsed"], has_ended(config, state)
    )
