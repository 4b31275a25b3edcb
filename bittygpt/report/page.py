"""`report.html`: a run, or several side by side, as one file that needs no network."""

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from bittygpt.files import write_text
from bittygpt.report.charts import charts_of
from bittygpt.report.comparison import charts_of_several
from bittygpt.report.record import RunRecord, distinct_names, read_run
from bittygpt.report.tables import changed_keys, different_keys, events_of, results
from bittygpt.terminal.baselines import compare_with

TEMPLATES = Path(__file__).parent / "template"
MOST_SAMPLES = 12
MOST_CHARACTERS = 2000  # of a sample


def write_report(folders: Sequence[Path], out: Path) -> None:
    """Read the folders of runs and replace `out` by a page about them, in one move."""
    write_text(out, report_page([read_run(folder) for folder in folders]))


def report_page(runs: Sequence[RunRecord]) -> str:
    """The page as HTML. Every text from a run is escaped."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    names = distinct_names(runs)
    values = _of_one(runs[0]) if len(runs) == 1 else _of_several(runs, names)
    now = datetime.now().astimezone()
    return environment.get_template("page.html").render(
        names=names, written=f"{now:%Y-%m-%d %H:%M}", css=_text("page.css"), js=_text("hover.js"), **values
    )


def _text(name: str) -> str:
    return (TEMPLATES / name).read_text("utf-8")


def _of_one(run: RunRecord) -> dict[str, Any]:
    return {
        "title": run.name,
        "run": run,
        "headline": _headline(run),
        "charts": charts_of(run) if run.steps or run.evals else [],
        "results": [results(run)],
        "events": events_of(run),
        "samples": [(event["step"], *_shown(event)) for event in spread(run.samples, MOST_SAMPLES)],
        "changed": changed_keys(run.config) if run.config else None,
        "yaml": run.yaml,
    }


def _of_several(runs: Sequence[RunRecord], names: Sequence[str]) -> dict[str, Any]:
    lasts = [(name, run.samples[-1]) for name, run in zip(names, runs, strict=True) if run.samples]
    return {
        "title": f"{len(runs)} runs",
        "run": None,
        "headline": ", ".join(names),
        "charts": charts_of_several(runs, names),
        "results": [results(run) for run in runs],
        "samples": [(f"{name}, step {event['step']:,}", *_shown(event)) for name, event in lasts],
        "different": different_keys([run.config for run in runs]),
    }


def _headline(run: RunRecord) -> str:
    """How good it is, in a sentence."""
    if not run.evals:
        return f"training loss {run.steps[-1]['loss']:.4f}" if run.steps else "no step yet"
    final = run.evals[-1]
    bits = final.get("val_bpb")
    parts = [
        f"validation loss {final['val_loss']:.4f}",
        f"{bits:.3f} bits per byte" if bits is not None else "",
        compare_with(run.baselines, final["val_loss"]),
    ]
    return "; ".join(part for part in parts if part)


def _shown(event: dict[str, Any]) -> tuple[str, str]:
    prompt, text = str(event.get("prompt", "")), event["text"]
    return prompt, text if len(text) <= MOST_CHARACTERS else f"{text[:MOST_CHARACTERS]} …"


def spread(items: Sequence[Any], most: int) -> list[Any]:
    """At most `most` of them, evenly, the first and the last among them."""
    if len(items) <= most:
        return list(items)
    return [items[round(i * (len(items) - 1) / (most - 1))] for i in range(most)]
