"""A page taken apart, and folders of runs that never ran."""

import json
import math
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from bittygpt.config import config_to_yaml, load_config

VOID = {"meta", "br", "path", "hr", "img", "link", "input"}
LADDER = [{"name": "uniform", "loss": 6.2}, {"name": "unigram", "loss": 5.1}, {"name": "bigram", "loss": 3.3}]


class Page(HTMLParser):
    """Checks that every tag is closed in its place; keeps attributes, text by tag, and the cells of tables."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[tuple[str, str]] = []
        self.html = html
        self.feed(html)
        self.close()
        assert self.open == [], f"never closed: {self.open}"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID or (tag == "path" and not self.get_starttag_text().endswith("/>")):
            self.open.append(tag)
            self.texts.append((tag, ""))

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open, f"</{tag}> closes nothing"
        assert self.open.pop() == tag, f"</{tag}> closes another"

    def handle_data(self, data: str) -> None:
        if data.strip():
            self.texts.append((self.open[-1] if self.open else "", data.strip()))

    def all(self, tag: str, **wanted: str) -> list[dict[str, str | None]]:
        """The attributes of every such tag."""
        return [a for t, a in self.tags if t == tag and all(a.get(k) == v for k, v in wanted.items())]

    def charts(self) -> list[dict[str, str | None]]:
        """The attributes of the pictures, without the keys and leader lines of their names."""
        return self.all("svg", role="img")

    def series(self, chart: int = 0) -> list[str]:
        """The names of the lines of a chart, counted from the top of the page."""
        names, count = [], -1
        for tag, attributes in self.tags:
            count += tag == "svg" and attributes.get("role") == "img"
            if tag == "path" and "data-name" in attributes and count == chart:
                names.append(attributes["data-name"])
        return names

    def facts(self) -> dict[str, str]:
        """The table of results of a page about one run."""
        rows = self.html.split('<table class="facts"')[1].split("</table>")[0].split("<tr>")[1:]
        return {
            row.split('<th scope="row">')[1].split("</th>")[0]: row.split("<td>")[1].split("</td>")[0]
            for row in rows
        }

    def words(self) -> str:
        """All that is read, on one line."""
        return " ".join(text for tag, text in self.texts if tag not in {"style", "script"})


def _make_run(
    folder: Path,
    steps: int = 100,
    *,
    overrides: tuple[str, ...] = (),
    change: Callable[[list[dict[str, Any]]], object] = len,
    every: int = 1,
    with_evals: bool = True,
    bits_per_nat: float = 0.5,
) -> Path:
    folder.mkdir(parents=True)
    source = folder.parent / f"{folder.name}.yaml"
    source.write_text("data: {train: [text.txt]}\n")
    names = [] if any(o.startswith("run.name") for o in overrides) else [f"run.name={folder.name}"]
    (folder / "config.yaml").write_text(config_to_yaml(load_config(source, [*names, *overrides])))
    events: list[dict[str, Any]] = [
        {"event": "start", "step": 0, "parameters": 12_345, "device": "cpu", "precision": "fp32", "ranks": 1}
        | {"ladder": LADDER, "time": "2026-01-02T03:04:05+01:00", "elapsed": 0.5}
    ]
    for step in range(1, steps + 1):
        if step == 1 or step % every == 0 or step == steps:
            events.append(
                {
                    "event": "step",
                    "step": step,
                    "tokens": step * 64,
                    "loss": 2 + 4 * math.exp(-step / steps * 5),
                }
                | {"grad_norm": 1.5, "lr": 1e-3 * step / steps, "tokens_per_second": 1000.0 + step % 7}
                | {"mfu": None, "data_wait": 0.0, "memory_gb": 0.25, "batch_hash": "ab", "elapsed": step / 10}
            )
        if with_evals and step % max(1, steps // 4) == 0:
            loss = 2.125 + 4 * math.exp(-step / steps * 5)
            events.append(
                {"event": "eval", "step": step, "val_loss": loss} | {"val_bpb": loss * bits_per_nat}
            )
            events[-1]["elapsed"] = step / 10 + 0.05
    change(events)
    (folder / "metrics.jsonl").write_text("".join(json.dumps(event) + "\n" for event in events))
    status = {"state": "finished", "step": steps, "of": steps, "loss": 2.0, "eta": None}
    (folder / "status.json").write_text(
        json.dumps({**status, "checkpoint": f"runs/{folder.name}/checkpoints/step-{steps:08d}"})
    )
    return folder


@pytest.fixture(scope="session")
def make_run() -> Callable[..., Path]:
    """Writes the folder of a run: its path, its steps, overrides of its config, and a change to its events."""
    return _make_run


@pytest.fixture(scope="session")
def page() -> type[Page]:
    return Page
