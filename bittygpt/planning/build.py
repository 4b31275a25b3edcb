"""A plan from a config: what is known of the model, what is measured here, or what is reckoned for other devices."""

import sys
from typing import Any

from bittygpt.core import TransformerLM
from bittygpt.planning import plan
from bittygpt.planning.cpu_load import busy_note
from bittygpt.planning.estimate import Hardware, check_batch, plan_ranks
from bittygpt.planning.faults import disk_faults, memory_faults, rank_fault
from bittygpt.planning.measure import Measured, current_memory
from bittygpt.planning.parts import (
    FORWARD_SHARE,
    checkpoint_size,
    flops_by_part,
    moments_in,
    parameters_by_part,
    shapes_in_checkpoint,
)
from bittygpt.planning.plan import Plan, TimePlan
from bittygpt.planning.subject import Subject, measure_steps
from bittygpt.training.devices.device import Device
from bittygpt.training.devices.memory import StepMemory, estimate_memory, micro_batch_sizes, num_trainable
from bittygpt.training.optimizers import moments_per_weight
from bittygpt.training.timing.step_timer import Pause
from bittygpt.training.timing.time_budget import planned_steps, shutdown_seconds
from bittygpt.training.validation import evaluation_batch_size


def plan_here(subject: Subject, device: Device) -> Plan:
    """Measure some steps on this device, if they fit, and reckon the rest."""
    process = 0 if device.is_cuda else current_memory()
    paper = subject.shape_only_model()
    shapes = shapes_in_checkpoint(paper, subject.config.optim)
    moments = moments_in(shapes) / max(1, num_trainable(paper))
    size = _micro_batch_size(subject, paper, device)
    memory = estimate_memory(paper, size, moments, device)
    available = device.total_memory()
    faults = memory_faults(memory, process, available, device, size)
    measured, time = None, None
    if not faults and not subject.is_finished:
        measured = measure_steps(subject, device)
        size = measured.micro_batch_size
        memory = estimate_memory(paper, size, moments, device)
    checkpoint = checkpoint_size(shapes, subject.tokens.vocabulary_bytes, subject.config_bytes)
    if measured is None:
        subject = subject.ending_at(subject.step)
    else:
        evaluation = _evaluation_here(subject, measured)
        start, each = measured.start, measured.step
        subject = _ending_in_time(subject, start, each, evaluation, checkpoint)
        time = plan.plan_time(subject.config, subject.step, start, each, evaluation, checkpoint)
    peak = process + memory.total if measured is None else measured.memory
    if not device.is_cuda:
        peak += _unmeasured_memory(subject, time)
    return _put_together(
        subject, device, paper, memory, checkpoint, time, faults, process=process, peak=peak,
        available=available, measured=measured, micro_batch_size=size, on=None, ranks=(),
    )  # fmt: skip


def plan_for(subject: Subject, on: Hardware) -> Plan:
    """Reckon for devices that are not here; or for several of the one that is, some steps of which are timed."""
    check_batch(subject.config.train.batch_size, on.world_size)
    paper = subject.shape_only_model()
    shapes = shapes_in_checkpoint(paper, subject.config.optim)
    measured = measure_steps(subject, on.device) if on.flops is None else None
    ranks = plan_ranks(subject.config, paper, moments_in(shapes), on, measured)
    first = ranks[0]
    checkpoint = checkpoint_size(shapes, subject.tokens.vocabulary_bytes, subject.config_bytes)
    start = plan.PAPER_START if measured is None else measured.start
    evaluation = _evaluation_on(subject, paper, on, measured)
    subject = _ending_in_time(subject, start, first.time.step, evaluation, checkpoint)
    time = plan.plan_time(subject.config, subject.step, start, first.time.step, evaluation, checkpoint)
    faults = [] if first.fits else [rank_fault(subject.config, first, ranks[-1], on)]
    return _put_together(
        subject, on.device, paper, first.memory, checkpoint, time, faults, process=0, peak=first.total_memory,
        available=on.device.total_memory(), measured=measured, micro_batch_size=first.micro_batch_size,
        on=on, ranks=tuple(ranks),
    )  # fmt: skip


def _put_together(
    subject: Subject,
    device: Device,
    paper: TransformerLM,
    memory: StepMemory,
    checkpoint: int,
    time: TimePlan | None,
    faults: list[str],
    **rest: Any,
) -> Plan:
    config, tokens = subject.config, subject.tokens
    validates = tokens.val is None or tokens.val > 1
    disk = plan.plan_disk(config, subject.run.checkpoints, subject.step, checkpoint, validates)
    steps_left = plan.last_step(config) - subject.step
    here = rest["on"] is None  # the disk of devices that are elsewhere is another one
    if here:
        faults += disk_faults(disk, subject.run.checkpoints, config.train.keep, steps_left)
    world_size = rest["on"].world_size if rest["on"] else 1
    return Plan(
        run=subject.run.path,
        device=device,
        step=subject.step,
        total_steps=plan.last_step(config),
        parameters=parameters_by_part(paper),
        trained=num_trainable(paper),
        flops=flops_by_part(paper),
        tokens=tokens,
        epochs=_epochs(subject),
        tokens_per_step=config.train.batch_size * config.model.context_length,
        batch_size=config.train.batch_size,
        accumulation=-(-config.train.batch_size // (world_size * rest["micro_batch_size"])),
        memory=memory,
        start_copy=0 if device.is_cuda else plan.copy_bytes(paper, subject.step),
        time=time,
        disk=disk,
        faults=tuple(faults),
        notes=tuple(
            filter(None, (*plan.frozen_note(paper), tokens.note, _busy_note(device, rest["measured"])))
        ),
        **rest,
    )


def _busy_note(device: Device, measured: Measured | None) -> str:
    return "" if measured is None or device.is_cuda else busy_note(measured.others)


def _micro_batch_size(subject: Subject, paper: TransformerLM, device: Device) -> int:
    """The one that the run will take, or try first."""
    train = subject.config.train
    if train.micro_batch_size != "auto":
        return min(train.batch_size, int(train.micro_batch_size))
    at_most = moments_per_weight(subject.config.optim)
    return subject.micro_batch_size or micro_batch_sizes(paper, train.batch_size, at_most, device)[0]


def _evaluation_here(subject: Subject, measured: Measured) -> float:
    """Seconds of an evaluation."""
    return (
        plan.evaluation_windows(subject.config, subject.tokens)
        / measured.evaluation_size
        * measured.evaluation
    )


def _evaluation_on(subject: Subject, paper: TransformerLM, on: Hardware, measured: Measured | None) -> float:
    """Seconds of an evaluation that the ranks share out, each round waiting for all."""
    windows = plan.evaluation_windows(subject.config, subject.tokens)
    if measured is not None:
        rounds = -(-windows // (measured.evaluation_size * on.world_size))
        return rounds * measured.evaluation
    assert on.flops is not None
    size = evaluation_batch_size(subject.config.train.batch_size, subject.config.model.context_length)
    rounds = -(-windows // (size * on.world_size))
    tokens = rounds * size * subject.config.model.context_length
    return FORWARD_SHARE * tokens * paper.flops_per_token() / on.flops


def _ending_in_time(
    subject: Subject, start: float, step_seconds: float, evaluation: float, checkpoint: int
) -> Subject:
    """With as many steps as the time budget has room for, if there is one."""
    train = subject.config.train
    if train.time_budget is None:
        return subject
    pauses = {"save": Pause(train.save_every, at_end=True, expected=plan.save_seconds(checkpoint))}
    if evaluation:
        pauses["evaluation"] = Pause(train.eval_every, at_end=True, expected=evaluation)
    seconds = train.time_budget - subject.elapsed - plan.LAST_DRAWING
    steps = planned_steps(seconds, start, step_seconds, pauses, shutdown_seconds(train))
    return subject.ending_at(min(subject.step + steps, train.max_steps or sys.maxsize))


def _unmeasured_memory(subject: Subject, time: TimePlan | None) -> int:
    """Main memory that the measured steps do not show: the tokens that are mapped, and what draws loss.png."""
    steps_left = plan.last_step(subject.config) - subject.step
    before_last = time.total * (1 - 1 / time.evaluations) if time and time.evaluations else 0.0
    draws = before_last > plan.DRAW_EVERY  # the last picture is drawn when all is done
    return plan.mapped_tokens(subject.config, subject.tokens, steps_left) + draws * int(plan.DRAWING_BYTES)


def _epochs(subject: Subject) -> float | None:
    windows = subject.tokens.windows
    steps = plan.last_step(subject.config)
    return steps * subject.config.train.batch_size / windows if windows else None
