"""The tables of the page: results, what happened, and how a config differs from the defaults or from others."""

import json
from collections.abc import Sequence
from statistics import median
from typing import Any, NamedTuple

from bittygpt.config import RunConfig
from bittygpt.config.run_config import SECTIONS, with_defaults
from bittygpt.report.record import RunRecord, is_number
from bittygpt.terminal.baselines import compare_with
from bittygpt.terminal.console import duration

MOST_EVENTS = 200
MOST_CHARACTERS = 120  # of a value
OWN_NAME = frozenset({"run.name", "run.dir", "data.dir"})  # where a run lies: no two are alike in that


class Fact(NamedTuple):
    """A line of the table of results."""

    name: str
    value: str


class Event(NamedTuple):
    """A line of the table of events."""

    step: int
    time: str
    kind: str
    text: str


def results(run: RunRecord) -> list[Fact]:
    """What came out, as far as it is known."""
    last = run.steps[-1] if run.steps else {}
    final, best, beginning = (run.evals[-1] if run.evals else None), run.best, run.beginning
    step, of = run.status.get("step", last.get("step")), run.status.get("of")
    speeds = [e["tokens_per_second"] for e in run.steps if is_number(e.get("tokens_per_second"))]
    shares = [e["mfu"] for e in run.steps if is_number(e.get("mfu"))]
    memory = [e["memory_gb"] for e in run.steps if is_number(e.get("memory_gb"))]
    facts = [
        ("state", run.state),
        ("steps", step is not None and (f"{step:,} of {of:,}" if of else f"{step:,}")),
        ("tokens", last.get("tokens") is not None and f"{last['tokens']:,}"),
        ("time", run.elapsed is not None and duration(run.elapsed)),
        ("training loss", bool(last) and f"{last['loss']:.4f}"),
        ("validation loss", final and f"{final['val_loss']:.4f}"),
        ("bits per byte", final and is_number(final.get("val_bpb")) and f"{final['val_bpb']:.4f}"),
        ("best validation loss", best and f"{best['val_loss']:.4f} at step {best['step']:,}"),
        ("among the baselines", final and compare_with(run.baselines, final["val_loss"])),
        ("parameters", "parameters" in beginning and f"{beginning['parameters']:,}"),
        ("tokens per second", bool(speeds) and f"{median(speeds):,.0f}"),
        ("MFU", bool(shares) and f"{median(shares):.0%}"),
        ("memory", bool(memory) and f"{max(memory):.2f} GB"),
        ("device", "device" in beginning and _device(beginning)),
        ("changed formulas", ", ".join(beginning.get("changed", []))),
        ("checkpoint", _checkpoint(run)),
        ("error", run.status.get("error")),
    ]
    return [Fact(name, str(value)) for name, value in facts if value]


def _device(beginning: dict[str, Any]) -> str:
    ranks = beginning.get("ranks", 1)
    return f"{f'{ranks} × ' if ranks > 1 else ''}{beginning['device']}, {beginning.get('precision', '')}"


def _checkpoint(run: RunRecord) -> str:
    """By its place within the run: the folder may have been carried elsewhere."""
    parts = str(run.status.get("checkpoint") or "").replace("\\", "/").split("/")
    return "/".join(parts[-2:])


def events_of(run: RunRecord) -> list[Event]:
    """Starts and stops and what trouble there was, in the order in which it came."""
    return [
        Event(
            event["step"],
            duration(event["elapsed"]) if event["elapsed"] else "",
            event["event"],
            _in_words(event),
        )
        for event in run.history[-MOST_EVENTS:]
    ]


def _in_words(event: dict[str, Any]) -> str:
    kind, at = event["event"], f", {event['time'].replace('T', ' ')[:16]}" if event.get("time") else ""
    if kind == "start":
        return f"started{at}"
    if kind == "resume":
        lost = event.get("reached", 0) - event["step"]
        again = f"; {lost:,} step{'s' * (lost != 1)} done again" if lost > 0 else ""
        return f"resumed after step {event['step']:,}{at}{again}"
    if kind == "interrupted":
        return "interrupted, with a checkpoint"
    if kind == "micro_batch":
        return f"out of memory: micro-batches of {event.get('micro_batch_size')} from here on"
    if kind == "low_space":
        return "the disk was filling up" if event.get("due") else "the disk was full: no checkpoint"
    if kind == "out_of_time":
        return f"the time budget had no room for {event.get('what')}"
    if kind == "diverged":
        return f"gave up: {event.get('reason')}"
    return (
        f"step {event.get('at')} diverged ({event.get('reason')}): back to step {event['step']:,}, leaving out "
        f"batches {event.get('first')} to {event.get('last')}"
    )


def shown(value: Any) -> str:
    """A value as a config has it, on one line; texts without quotes."""
    text = value if isinstance(value, str) and value else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= MOST_CHARACTERS else f"{text[:MOST_CHARACTERS]} …"


def changed_keys(config: RunConfig) -> list[tuple[str, str, str]]:
    """Key, value and default of what differs from the default that it would have beside the config's other keys."""
    values = config.model_dump(mode="json")
    changed = []
    for section in SECTIONS:
        for name, value in values[section].items():
            without = {key: own for key, own in values[section].items() if key != name}
            default = with_defaults({**values, section: without})[section].get(name)
            default = list(default) if isinstance(default, tuple) else default
            if f"{section}.{name}" not in OWN_NAME and value != default:
                changed.append((f"{section}.{name}", shown(value), "" if default is None else shown(default)))
    return changed


def different_keys(configs: Sequence[RunConfig | None]) -> list[tuple[str, list[str]]]:
    """The keys in which runs differ, with the value of each; "" where its config is not known."""
    dumps = [config.model_dump(mode="json") if config else None for config in configs]
    rows = []
    for section, model in SECTIONS.items():
        for name in model.model_fields:
            values = ["" if dump is None else shown(dump[section][name]) for dump in dumps]
            if f"{section}.{name}" not in OWN_NAME and len({value for value in values if value}) > 1:
                rows.append((f"{section}.{name}", values))
    return rows
