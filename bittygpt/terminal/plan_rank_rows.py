"""The rows of a plan for devices that are not here: its ranks, and what was assumed."""

from bittygpt.planning.estimate import RankPlan
from bittygpt.planning.network import LINK_SHARE
from bittygpt.planning.plan import Plan
from bittygpt.terminal.units import Section, seconds, size


def rank_rows(plan: Plan) -> Section:
    """Memory, traffic and time of each way to share the work out, side by side."""
    ranks = plan.ranks

    def row(name: str, values: list[str], remark: str = "") -> tuple[str, ...]:
        return (name, *values, remark)

    def times(name: str, part: str, remark: str = "") -> tuple[str, ...]:
        return row(name, [seconds(getattr(rank.time, part)) for rank in ranks], remark)

    def bytes_of(name: str, part: str, remark: str = "") -> tuple[str, ...]:
        return row(name, [size(getattr(rank.memory, part)) for rank in ranks], remark)

    rows = [
        row("", [_name(rank) for rank in ranks], "train.parallel means the first" if len(ranks) > 1 else ""),
        *(bytes_of(part, part) for part in ("weights", "gradients", "moments", "activations", "logits")),
        row("exchange buffers", [size(rank.exchange_buffers) for rank in ranks]),
        row("memory a rank", [size(rank.total_memory) for rank in ranks], f"of {size(plan.available)}"),
        row("fits", ["yes" if rank.fits else "NO" for rank in ranks]),
        row("micro-batch", [f"{rank.micro_batch_size} x {rank.accumulation}" for rank in ranks]),
        row("sent by a rank", [size(rank.traffic) for rank in ranks], "in a step"),
        times("computing", "compute"),
        times("exchanging", "exchange", "much of it while computing"),
        times("of that, waited for", "exposed"),
        times("update", "update"),
        times("step", "step"),
        row(
            "tokens/s",
            [f"{plan.tokens_per_step / rank.time.step:,.0f}" for rank in ranks],
            "all ranks together",
        ),
    ]
    return Section("on each rank, on paper", rows)


def _name(rank: RankPlan) -> str:
    return {"one": "one device", "ddp": "DDP", "fsdp": "FSDP2"}[rank.parallel]


def assumptions(plan: Plan) -> Section:
    """What the figures rest on."""
    assert plan.on is not None
    on, n = plan.on, plan.world_size
    speed = "a micro-batch timed here" if on.flops is None else f"{on.flops / 1e12:,.0f} TFLOP/s (--mfu)"
    memory = (
        "timed here"
        if on.flops is None
        else f"weights, gradients and moments at {(on.memory_rate or 1e12) / 1e9:,.0f} GB/s"
    )
    rows = [("computing", speed), ("update", memory)]
    if n > 1:
        rows += [
            (
                "link",
                f"{on.link / 1e9:,.1f} GB/s a device, one way (--bandwidth; else {LINK_SHARE:.0%} of the data sheet)",
            ),
            ("DDP sends", "2 (N-1)/N x gradients; hidden behind the last backward pass"),
            ("FSDP2 sends", "(N-1)/N x (micro-batches x (2 layers + rest) + gradients)"),
            ("", "each layer gathered while the one before computes; and what Muon's update sends"),
        ]
    return Section("assumed", rows)
