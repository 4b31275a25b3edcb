"""A plan from a config: what is known of the model, what is measured here, or what is estimated for other devices."""

import sys
from collections.abc import Sequence

from bittygpt.core import TransformerLM
from bittygpt.planning import plan
from bittygpt.planning.cpu_load import busy_note
from bittygpt.planning.estimate import Hardware, RankPlan, check_batch, plan_ranks
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
from bittygpt.training.devices.memory import (
    FLOAT,
    StepMemory,
    estimate_memory,
    micro_batch_sizes,
    num_trainable,
)
from bittygpt.training.optimizers import moments_per_weight
from bittygpt.training.timing.step_timer import Pause
from bittygpt.training.timing.time_budget import planned_steps, shutdown_seconds
from bittygpt.training.validation import evaluation_batch_size


def plan_here(subject: Subject, device: Device) -> Plan:
    """Measure some steps on this device, if they fit, and estimate the rest."""
    process = 0 if device.is_cuda else current_memory()
    model = subject.shape_only_model()
    shapes = shapes_in_checkpoint(model, subject.config.optim)
    moments = moments_in(shapes) / max(1, num_trainable(model))
    size = _micro_batch_size(subject, model, device)
    memory = estimate_memory(model, size, moments, device)
    available = device.total_memory()
    faults = memory_faults(memory, process, available, device, size)
    checkpoint = checkpoint_size(shapes, subject.tokens.vocabulary_bytes, subject.config_bytes)
    if faults or subject.is_finished:
        measured, time, subject = None, None, subject.ending_at(subject.step)
        peak = process + memory.total
    else:
        measured = measure_steps(subject, device)
        size = measured.micro_batch_size
        memory = estimate_memory(model, size, moments, device)
        windows = plan.evaluation_windows(subject.config, subject.tokens)
        evaluation = windows / measured.evaluation_size * measured.evaluation
        subject, time = _plan_time(subject, measured.start, measured.step, evaluation, checkpoint)
        peak = measured.memory
    if not device.is_cuda:
        peak += _unmeasured_memory(subject, time)
    return _plan(
        subject,
        device,
        model,
        memory,
        checkpoint,
        time,
        faults,
        process=process,
        peak=peak,
        available=available,
        micro_batch_size=size,
        measured=measured,
    )


def plan_for(subject: Subject, on: Hardware) -> Plan:
    """Estimate for devices that are not here; or for several of the one that is, some steps of which are timed."""
    check_batch(subject.config.train.batch_size, on.world_size)
    model = subject.shape_only_model()
    shapes = shapes_in_checkpoint(model, subject.config.optim)
    measured = measure_steps(subject, on.device) if on.flops is None else None
    ranks = plan_ranks(subject.config, model, moments_in(shapes), on, measured)
    first = ranks[0]
    checkpoint = checkpoint_size(shapes, subject.tokens.vocabulary_bytes, subject.config_bytes)
    start = plan.START_ELSEWHERE if measured is None else measured.start
    evaluation = _evaluation_seconds(subject, model, on, measured)
    subject, time = _plan_time(subject, start, first.time.step, evaluation, checkpoint)
    faults = [] if first.fits else [rank_fault(subject.config, first, ranks[-1], on)]
    return _plan(
        subject,
        on.device,
        model,
        first.memory,
        checkpoint,
        time,
        faults,
        process=0,
        peak=first.total_memory,
        available=on.device.total_memory(),
        micro_batch_size=first.micro_batch_size,
        measured=measured,
        on=on,
        ranks=ranks,
    )


def _plan(
    subject: Subject,
    device: Device,
    model: TransformerLM,
    memory: StepMemory,
    checkpoint: int,
    time: TimePlan | None,
    faults: list[str],
    *,
    process: int,
    peak: int,
    available: int,
    micro_batch_size: int,
    measured: Measured | None,
    on: Hardware | None = None,
    ranks: Sequence[RankPlan] = (),
) -> Plan:
    """What both kinds of plan have in common."""
    config, tokens, last = subject.config, subject.tokens, plan.last_step(subject.config)
    validates = tokens.val is None or tokens.val > 1
    disk = plan.plan_disk(config, subject.run.checkpoints, subject.step, checkpoint, validates)
    if on is None:  # the disk of devices that are elsewhere is another one
        faults += disk_faults(disk, subject.run.checkpoints, config.train.keep, last - subject.step)
    notes = [tokens.note]
    if frozen := model.num_parameters() - num_trainable(model):
        frozen_note = "weights are frozen; the operations of their gradients are counted all the same"
        notes.insert(0, f"{frozen:,} {frozen_note}")
    if measured is not None and not device.is_cuda:
        notes.append(busy_note(measured.others))
    has_start_copy = subject.step == 0 and not device.is_cuda  # until its first checkpoint
    world_size = on.world_size if on else 1
    return Plan(
        run=subject.run.path,
        device=device,
        step=subject.step,
        total_steps=last,
        parameters=parameters_by_part(model),
        trained=num_trainable(model),
        flops=flops_by_part(model),
        tokens=tokens,
        epochs=last * config.train.batch_size / tokens.windows if tokens.windows else None,
        tokens_per_step=config.train.batch_size * config.model.context_length,
        batch_size=config.train.batch_size,
        accumulation=-(-config.train.batch_size // (world_size * micro_batch_size)),
        memory=memory,
        start_copy=has_start_copy * FLOAT * model.num_parameters(),
        time=time,
        disk=disk,
        faults=tuple(faults),
        notes=tuple(filter(None, notes)),
        process=process,
        peak=peak,
        available=available,
        micro_batch_size=micro_batch_size,
        measured=measured,
        on=on,
        ranks=ranks,
    )


def _micro_batch_size(subject: Subject, model: TransformerLM, device: Device) -> int:
    """The one that the run will take, or try first."""
    train = subject.config.train
    if train.micro_batch_size != "auto":
        return min(train.batch_size, int(train.micro_batch_size))
    at_most = moments_per_weight(subject.config.optim)
    return subject.micro_batch_size or micro_batch_sizes(model, train.batch_size, at_most, device)[0]


def _evaluation_seconds(
    subject: Subject, model: TransformerLM, on: Hardware, measured: Measured | None
) -> float:
    """Of an evaluation that the ranks share out, each round waiting for all."""
    windows = plan.evaluation_windows(subject.config, subject.tokens)
    if measured is not None:
        return -(-windows // (measured.evaluation_size * on.world_size)) * measured.evaluation
    assert on.flops is not None
    size = evaluation_batch_size(subject.config.train.batch_size, subject.config.model.context_length)
    rounds = -(-windows // (size * on.world_size))
    tokens = rounds * size * subject.config.model.context_length
    return FORWARD_SHARE * tokens * model.flops_per_token() / on.flops


def _plan_time(
    subject: Subject, start: float, step: float, evaluation: float, checkpoint: int
) -> tuple[Subject, TimePlan]:
    """The time that the run takes; with a time budget, the subject has as many steps as that has room for."""
    train = subject.config.train
    if train.time_budget is not None:
        pauses = {"save": Pause(train.save_every, at_end=True, expected=plan.save_seconds(checkpoint))}
        if evaluation:
            pauses["evaluation"] = Pause(train.eval_every, at_end=True, expected=evaluation)
        seconds = train.time_budget - subject.elapsed - plan.LAST_PLOT
        steps = planned_steps(seconds, start, step, pauses, shutdown_seconds(train))
        subject = subject.ending_at(min(subject.step + steps, train.max_steps or sys.maxsize))
    return subject, plan.plan_time(subject.config, subject.step, start, step, evaluation, checkpoint)


def _unmeasured_memory(subject: Subject, time: TimePlan | None) -> int:
    """Main memory that the measured steps do not show: the tokens that are mapped, and what draws loss.png."""
    sequences = (plan.last_step(subject.config) - subject.step) * subject.config.train.batch_size
    mapped = min(subject.tokens.bytes_on_disk, sequences * plan.PAGES_READ)
    before_last = time.total * (1 - 1 / time.evaluations) if time and time.evaluations else 0.0
    plots = before_last > plan.PLOT_EVERY  # the last plot is drawn when all is done
    return mapped + plots * int(plan.PLOT_BYTES)
