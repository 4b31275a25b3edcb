"""The rows of a plan: a name, numbers, a remark."""

from datetime import datetime, timedelta

from bittygpt.planning.parts import FORWARD_SHARE
from bittygpt.planning.plan import SAVED_PER_SECOND, Plan, TimePlan
from bittygpt.terminal.console import duration
from bittygpt.terminal.plan_rank_rows import assumptions, rank_rows
from bittygpt.terminal.units import Section, seconds, size


def sections_of(plan: Plan) -> list[Section]:
    """All sections of a plan, the most asked-for first."""
    sections = [_run(plan), *([_time(plan, plan.time)] if plan.time else []), _batch(plan)]
    sections += [rank_rows(plan), assumptions(plan)] if plan.on else [_memory(plan)]
    return [*sections, _parameters(plan), _flops(plan), _disk(plan), _data(plan)]


def _run(plan: Plan) -> Section:
    name = plan.device.name or str(plan.device.torch_device)
    devices = f"{plan.world_size} x {name}" if plan.on else name
    note = f" ({plan.device.note})" if plan.device.note else ""
    rows: list[tuple[str, ...]] = [("on", f"{devices} in {plan.device.precision}{note}")]
    if plan.step >= plan.total_steps:
        rows.append(("finished", f"after {plan.step:,} step{'s' * (plan.step > 1)}; --fresh starts it over"))
    elif plan.step:
        rows.append(("goes on", f"after step {plan.step:,} of {plan.total_steps:,}"))
    if plan.tokens_per_second and plan.time and plan.time.steps_left:
        rows.append(("finish", finish_of(plan.time.total)))
        rows.append(("speed", _speed(plan)))
    rows += [("cannot work", fault) for fault in plan.faults]
    return Section(str(plan.run), rows)


def _speed(plan: Plan) -> str:
    assert plan.time is not None
    rate, mfu = plan.tokens_per_second or 0.0, plan.mfu
    share = "" if mfu is None else f", MFU {mfu:.0%}"
    how = (
        "reckoned"
        if plan.measured is None
        else f"{plan.measured.steps} step{'s' * (plan.measured.steps > 1)} measured"
    )
    return f"{rate:,.0f} tokens/s, {seconds(plan.time.step)} a step{share} ({how})"


def finish_of(seconds_left: float) -> str:
    """The time of day after so many seconds, with the day where it is another one."""
    finish = datetime.now() + timedelta(seconds=seconds_left)
    day = "" if finish.date() == datetime.now().date() else finish.strftime("%a %d %b %Y ")
    return f"{day}{finish:%H:%M}, {duration(seconds_left)} after the start"


def _time(plan: Plan, time: TimePlan) -> Section:
    def row(name: str, count: int, each: float, remark: str = "") -> tuple[str, ...]:
        return (name, f"{count:,}", seconds(each), seconds(count * each), remark)

    rate = f"at {SAVED_PER_SECOND / 1e6:.0f} MB/s, not measured"
    rows = [
        row(
            "starting",
            1,
            time.start,
            "not measured" if plan.measured is None else "imports, model, first step",
        ),
        row("steps", time.steps_left, time.step),
        row("evaluations", time.evaluations, time.evaluation, "forward only" if time.evaluations else "none"),
        row("checkpoints", time.saves, time.save, rate),
        row("ending", 1, time.end, "loss.png"),
    ]
    return Section("time: how many, seconds of each, in all", rows)


def _batch(plan: Plan) -> Section:
    size, n = plan.batch_size, plan.world_size
    rows = [
        (
            "batch_size",
            f"{size:,}",
            "sequences in a step" + (f"; must be a multiple of {n}" if n > 1 else ""),
        ),
        ("micro-batch", f"{plan.micro_batch_size:,}", "at once" + (" on each rank" if n > 1 else "")),
        ("accumulation", f"{plan.accumulation:,}", "micro-batches in a step"),
        ("tokens", f"{plan.tokens_per_step:,}", "in a step"),
    ]
    if plan.measured is not None and plan.on is None:
        rows.append(("micro-batch", seconds(plan.measured.micro_batch), "forward and backward"))
        rows.append(("update", seconds(plan.measured.update), "of all weights, once a step"))
    return Section("batch", rows)


def _memory(plan: Plan) -> Section:
    m = plan.memory
    rows = [
        ("weights", size(m.weights), ""),
        ("gradients", size(m.gradients), ""),
        ("moments", size(m.moments), "of the optimizer"),
        ("activations", size(m.activations), "kept for the backward pass"),
        ("logits", size(m.logits), "some at a time, and the head's gradient"),
    ]
    if plan.start_copy:
        rows.append(("first weights", size(plan.start_copy), "kept until the first checkpoint"))
    if plan.process:
        rows.append(("program", size(plan.process), "Python and PyTorch, before the model"))
    how = "measured" if plan.measured is not None and plan.on is None else "estimated"
    rows.append(("peak", size(plan.peak), f"{how}, of {size(plan.available)}"))
    return Section("memory (parts estimated; they do not all peak together)", rows)


def _parameters(plan: Plan) -> Section:
    total = sum(plan.parameters.values())
    rows = [
        (
            part,
            f"{number:,}",
            f"{number / total:.0%}" if number else "the embedding's table" if part == "head" else "",
        )
        for part, number in plan.parameters.items()
    ]
    trained = "" if plan.trained == total else f"{plan.trained:,} of them trained"
    return Section("parameters", [*rows, ("all", f"{total:,}", trained)])


def _flops(plan: Plan) -> Section:
    rows = [
        (
            part,
            f"{number * FORWARD_SHARE:,.0f}",
            f"{number * (1 - FORWARD_SHARE):,.0f}",
            f"{number / sum(plan.flops.values()):.0%}",
        )
        for part, number in plan.flops.items()
    ]
    total = sum(plan.flops.values())
    rows.append(("all", f"{total * FORWARD_SHARE:,.0f}", f"{total * (1 - FORWARD_SHARE):,.0f}", ""))
    return Section("FLOPs a token, forward and backward", rows)


def _disk(plan: Plan) -> Section:
    disk = plan.disk
    rows = [
        ("checkpoint", size(disk.checkpoint), f"{disk.there} there" if disk.there else ""),
        ("kept at most", f"{disk.kept}", "train.keep newest, and the best" if disk.kept else ""),
        ("needed", size(disk.needed) if disk.kept else size(0), ""),
        ("free", size(disk.free), f"room for {disk.room_for:,}"),
    ]
    return Section("disk", rows)


def _data(plan: Plan) -> Section:
    tokens = plan.tokens
    about = "about " if tokens.on_disk is None else ""

    def count(number: int | None) -> str:
        return "not known" if number is None else f"{about}{number:,}"

    rows = [
        ("training tokens", count(tokens.train)),
        ("validation tokens", count(tokens.val)),
        ("the run reads", f"{plan.total_steps * plan.tokens_per_step:,}"),
        ("epochs", "not known" if plan.epochs is None else f"{about}{plan.epochs:,.2f}"),
    ]
    return Section("data", [*rows, *(("note", note) for note in plan.notes)])
