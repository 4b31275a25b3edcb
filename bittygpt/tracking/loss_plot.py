"""`loss.png`: training and validation loss, and the losses of simple models."""

import logging
import math
import warnings
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bittygpt.files import atomic_file
from bittygpt.terminal.baselines import BaselineLoss, compare_with
from bittygpt.tracking.labels import spread_labels

if TYPE_CHECKING:
    from matplotlib.axes import Axes

LABEL_HEIGHT = 0.05  # of the picture, that two names need
MOST_DOTS = 60  # a line of more evaluations has no dot at each
FAR_ABOVE = 1.2  # times the larger of a blind guess and the worst training loss
# of the baselines, so that they can be told apart in grey
DASHES = ((1, 3), (4, 4), (8, 4), (8, 3, 1, 3), (14, 4))
TRAINING, VALIDATION, QUIET = "#0b62b5", "#c2410c", "#59636e"


def draw_losses(
    events: Iterable[dict[str, Any]], path: Path, title: str, baselines: Sequence[BaselineLoss]
) -> None:
    """Draw the events of `metrics.jsonl`. The grey lines are the losses of simple models on the validation tokens."""
    logging.getLogger("matplotlib").setLevel(logging.ERROR)  # where it keeps its fonts is nobody's concern
    from matplotlib.figure import Figure  # slow to import: only when there is something to draw
    from matplotlib.ticker import MaxNLocator

    events = list(events)
    steps = [event for event in events if event["event"] == "step"]
    evals = [event for event in events if event["event"] == "eval"]
    figure = Figure(figsize=(8, 5), dpi=120, layout="constrained")
    axes = figure.add_subplot()
    drawn = _worth_drawing(baselines, [event["loss"] for event in steps])
    labels = [(baseline.loss, f"{baseline.name} {baseline.loss:.2f}", QUIET) for baseline in drawn]
    for number, baseline in enumerate(drawn):
        dashes = DASHES[number % len(DASHES)]
        axes.axhline(baseline.loss, color="#8b949e", linestyle=(0, dashes), linewidth=0.9)
    x, y = [event["step"] for event in steps], smoothed([event["loss"] for event in steps])
    axes.plot(x, [event["loss"] for event in steps], color=TRAINING, alpha=0.3, linewidth=0.7)
    axes.plot(x, y, color=TRAINING, linewidth=2, marker="o" if len(steps) == 1 else None, markersize=4.5)
    if steps:
        labels.append((y[-1], f"training {y[-1]:.3f}", TRAINING))
    if evals:
        at, losses = [event["step"] for event in evals], [event["val_loss"] for event in evals]
        marker = "o" if len(evals) <= MOST_DOTS else None
        axes.plot(at, losses, color=VALIDATION, linewidth=2, marker=marker, markersize=4.5)
        labels.append((losses[-1], f"validation {losses[-1]:.3f}", VALIDATION))
    _name_lines(axes, labels)
    headline = _headline(evals, baselines)
    pad = 24 + 13 * headline.count("\n")
    axes.set_title(title, loc="left", fontsize=15, fontweight="bold", pad=pad, parse_math=False)
    axes.annotate(headline, (0, 1), (0, 8), "axes fraction", textcoords="offset points", color=QUIET)
    axes.set_xlabel("step")
    axes.set_ylabel("loss (nats per token)")
    axes.set_xlim(left=0)
    axes.xaxis.set_major_locator(MaxNLocator("auto", steps=[1, 2, 2.5, 5, 10], integer=True))
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    axes.grid(axis="y", color="#e3e7ec")
    axes.set_axisbelow(True)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.tick_params(length=0, colors=QUIET)
    with warnings.catch_warnings(), atomic_file(path) as file:
        warnings.simplefilter("ignore")  # of a run's name in letters that the font lacks
        figure.savefig(file, format="png")


def _headline(evals: Sequence[dict[str, Any]], baselines: Sequence[BaselineLoss]) -> str:
    """What the last evaluation and the best one say; on a line of their own, the baselines."""
    if not evals:
        return "no validation"
    last, best = evals[-1], min(evals, key=lambda event: event["val_loss"])
    bits = last.get("val_bpb")
    parts = [
        f"validation {last['val_loss']:.4f}",
        "" if bits is None else f"{bits:.3f} bits per byte",
        "" if best is last else f"best {best['val_loss']:.4f} at step {best['step']:,}",
    ]
    lines = ["   ".join(part for part in parts if part), compare_with(baselines, last["val_loss"])]
    return "\n".join(line for line in lines if line)


def _worth_drawing(baselines: Sequence[BaselineLoss], losses: Sequence[float]) -> list[BaselineLoss]:
    """Without the baselines so far above all else that they would press the curves flat: xz is, on a tiny text."""
    highest = max(
        [baseline.loss for baseline in baselines if baseline.name == "uniform"] + list(losses),
        default=math.inf,
    )
    return [baseline for baseline in baselines if baseline.loss <= FAR_ABOVE * highest]


def _name_lines(axes: "Axes", labels: Sequence[tuple[float, str, str]]) -> None:
    """The name of each line beside its end (value, text, colour), with a leader line where others push it away."""
    low, high = axes.get_ylim()
    labels = sorted(labels)
    own = [(value - low) / (high - low) for value, *_ in labels]
    for at, place, (_, text, colour) in zip(own, spread_labels(own, LABEL_HEIGHT), labels, strict=True):
        axes.annotate(
            text,
            (1, at),
            (1.03, place),
            xycoords="axes fraction",
            va="center",
            color=colour,
            fontweight="normal" if colour == QUIET else "bold",
            fontsize=9.5,
            annotation_clip=False,
            arrowprops={
                "arrowstyle": "-",
                "color": colour,
                "linewidth": 0.8,
                "shrinkA": 1,
                "shrinkB": 0,
                "relpos": (0, 0.5),
            },
        )


def smoothed(values: list[float], share: float = 0.1) -> list[float]:
    """A running mean with a memory of a tenth of the steps so far: it follows the start and calms the end."""
    out: list[float] = []
    for number, value in enumerate(values, 1):
        before = out[-1] if out else value
        out.append(before + (value - before) / max(1.0, share * number))
    return out
