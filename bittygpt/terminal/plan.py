"""Shows a plan: tables on a terminal, aligned lines in a pipe, or JSON."""

import sys
import textwrap
from dataclasses import asdict
from datetime import datetime, timedelta
from typing import Any

from bittygpt.planning.estimate import RankPlan
from bittygpt.planning.parts import FORWARD_SHARE
from bittygpt.planning.plan import Plan
from bittygpt.terminal.console import result
from bittygpt.terminal.plan_rows import sections_of
from bittygpt.terminal.units import Section

COLUMNS = 80  # of a line in a pipe


def show_plan(plan: Plan) -> None:
    """Print it on stdout."""
    sections = sections_of(plan)
    if sys.stdout.isatty():
        _show_tables(sections)
        return
    for section in sections:
        result(section.title)
        widths = [max(len(row[i]) for row in section.rows) for i in range(len(section.rows[0]))]
        for *cells, remark in section.rows:
            padded = [cells[0].ljust(widths[0]), *map(str.rjust, cells[1:], widths[1:])]
            beginning = "".join(f"  {cell}" for cell in padded) + "  "
            for number, line in enumerate(_wrapped(remark, COLUMNS - len(beginning))):
                result(((beginning if number == 0 else " " * len(beginning)) + line).rstrip())


def _wrapped(text: str, width: int) -> list[str]:
    """Lines of at most so many characters, but for words that are longer."""
    return textwrap.wrap(text, max(20, width), break_long_words=False, break_on_hyphens=False) or [""]


def _show_tables(sections: list[Section]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console(highlight=False)
    for section in sections:
        console.print(Text(section.title, style="bold"))
        table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
        for number in range(len(section.rows[0])):
            is_number = 0 < number < len(section.rows[0]) - 1
            table.add_column(
                justify="right" if is_number else "left", style="" if is_number else "dim", no_wrap=is_number
            )
        for row in section.rows:
            table.add_row("  " + row[0], *row[1:])
        console.print(table)


def plan_as_json(plan: Plan) -> dict[str, Any]:
    """All of it in numbers: bytes, seconds, FLOPs."""
    parts = {
        part: {"forward": round(n * FORWARD_SHARE), "backward": n - round(n * FORWARD_SHARE)}
        for part, n in plan.flops.items()
    }
    finish = None if plan.time is None else datetime.now().astimezone() + timedelta(seconds=plan.time.total)
    return {
        "event": "plan",
        "run": str(plan.run),
        "device": plan.device.name or str(plan.device.torch_device),
        "precision": plan.device.precision,
        "step": plan.step,
        "of": plan.total_steps,
        "parameters": {**plan.parameters, "total": sum(plan.parameters.values()), "trained": plan.trained},
        "flops_per_token": {**parts, "total": sum(plan.flops.values())},
        "memory": {
            **asdict(plan.memory),
            "process": plan.process,
            "first_weights": plan.start_copy,
            "peak": plan.peak,
            "available": plan.available,
            "measured": plan.measured is not None and plan.on is None,
        },
        "batch": {
            "batch_size": plan.batch_size,
            "world_size": plan.world_size,
            "micro_batch_size": plan.micro_batch_size,
            "accumulation": plan.accumulation,
        },
        "measured": None if plan.measured is None else asdict(plan.measured),
        "tokens_per_second": plan.tokens_per_second,
        "mfu": plan.mfu,
        "time": None if plan.time is None else {**asdict(plan.time), "total": plan.time.total},
        "finish": None if finish is None else finish.isoformat(timespec="seconds"),
        "disk": {**asdict(plan.disk), "needed": plan.disk.needed, "room_for": plan.disk.room_for},
        "data": {
            "tokens": plan.tokens.train,
            "val_tokens": plan.tokens.val,
            "vocab_size": plan.tokens.vocab_size,
            "is_estimate": plan.tokens.on_disk is None,
            "tokens_per_step": plan.tokens_per_step,
            "epochs": plan.epochs,
        },
        "ranks": [_rank(rank) for rank in plan.ranks],
        "rates": None
        if plan.on is None
        else {"link": plan.on.link, "flops": plan.on.flops, "memory_rate": plan.on.memory_rate},
        "faults": list(plan.faults),
        "notes": list(plan.notes),
    }


def _rank(rank: RankPlan) -> dict[str, Any]:
    return {
        "parallel": rank.parallel,
        "memory": {
            **asdict(rank.memory),
            "exchange_buffers": rank.exchange_buffers,
            "total": rank.total_memory,
        },
        "fits": rank.fits,
        "micro_batch_size": rank.micro_batch_size,
        "accumulation": rank.accumulation,
        "bytes_sent_per_step": rank.traffic,
        "seconds": {**asdict(rank.time), "step": rank.time.step},
    }
