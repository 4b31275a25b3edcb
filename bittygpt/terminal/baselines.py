"""The ladder of simple models, and where a loss stands on it."""

from collections.abc import Sequence
from typing import Any, NamedTuple


class BaselineLoss(NamedTuple):
    """A simple model and its loss on the validation tokens, in nats per token."""

    name: str
    loss: float


def baselines_of(manifest: dict[str, Any]) -> list[BaselineLoss]:
    """The ladder of the data report, from the worst model to the best; empty where nothing is validated on."""
    baselines = manifest.get("report", {}).get("baselines", [])
    rungs = [BaselineLoss(rung["name"], rung["loss"]) for rung in baselines]
    return sorted(rungs, key=lambda rung: -rung.loss)


def compare_with(ladder: Sequence[BaselineLoss], loss: float) -> str:
    """The best model that a loss beats and the next one to beat; empty without a ladder."""
    beaten = [rung for rung in ladder if loss < rung.loss]
    ahead = [rung for rung in ladder if loss >= rung.loss]
    words = [f"better than {beaten[-1].name} ({beaten[-1].loss:.2f})"] if beaten else []
    words += [f"next: {ahead[0].name} ({ahead[0].loss:.2f})"] if ahead else []
    return ", ".join(words)
