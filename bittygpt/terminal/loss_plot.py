"""`loss.png`: training and validation loss, and where simple models would lie."""

import warnings
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bittygpt.files import atomic_file
from bittygpt.terminal.ladder import Rung

if TYPE_CHECKING:
    from matplotlib.axes import Axes

LABEL_HEIGHT = 0.045  # of the picture, that two names need


def draw_losses(events: Iterable[dict[str, Any]], path: Path, title: str, ladder: Sequence[Rung]) -> None:
    """Draw the events of `metrics.jsonl`. The grey lines are the losses of simple models on the validation tokens."""
    from matplotlib.figure import Figure  # slow to import: only when there is something to draw

    events = list(events)
    steps = [event for event in events if event["event"] == "step"]
    evals = [event for event in events if event["event"] == "eval"]
    figure = Figure(figsize=(8, 5), dpi=120, layout="constrained")
    axes = figure.add_subplot()
    x, y = [event["step"] for event in steps], [event["loss"] for event in steps]
    axes.plot(x, y, color="#9ecae1", linewidth=0.8)
    axes.plot(x, smoothed(y), color="#2171b5", linewidth=1.8, label="training (smoothed)")
    if evals:
        best = min(evals, key=lambda event: event["val_loss"])
        axes.plot(
            [event["step"] for event in evals],
            [event["val_loss"] for event in evals],
            "o-",
            color="#d94801",
            markersize=4,
            label=f"validation (best {best['val_loss']:.3f})",
        )
    _draw_ladder(axes, ladder)
    axes.set_title(title, parse_math=False)
    axes.set(xlabel="step", ylabel="loss (nats per token)")
    axes.grid(alpha=0.25)
    axes.legend(loc="center right", frameon=False)
    axes.spines[["top", "right"]].set_visible(False)
    with warnings.catch_warnings(), atomic_file(path) as file:
        warnings.simplefilter("ignore")  # of a run's name in letters that the font lacks
        figure.savefig(file, format="png")


def _draw_ladder(axes: "Axes", ladder: Sequence[Rung]) -> None:
    """A line for each rung, its name on the right, apart from the others' names."""
    for rung in ladder:
        axes.axhline(rung.loss, color="#888888", linestyle="--", linewidth=0.8)
    low, high = axes.get_ylim()
    place = low
    for rung in sorted(ladder, key=lambda rung: rung.loss):
        place = max(rung.loss, place + LABEL_HEIGHT * (high - low))
        axes.annotate(
            f"{rung.name} {rung.loss:.2f}",
            (1, place),
            xycoords=("axes fraction", "data"),
            xytext=(4, 0),
            textcoords="offset points",
            va="center",
            color="#666666",
            fontsize=9,
            annotation_clip=False,
        )


def smoothed(values: list[float], share: float = 0.1) -> list[float]:
    """A running mean with a memory of a tenth of the steps so far: it follows the start and calms the end."""
    out: list[float] = []
    for number, value in enumerate(values, 1):
        before = out[-1] if out else value
        out.append(before + (value - before) / max(1.0, share * number))
    return out
