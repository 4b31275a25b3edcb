"""The losses of simple models, and where a loss stands among them."""

from collections.abc import Sequence
from typing import Any, NamedTuple


class BaselineLoss(NamedTuple):
    """A simple model and its loss on the validation tokens, in nats per token."""

    name: str
    loss: float


def baselines_of(manifest: dict[str, Any]) -> list[BaselineLoss]:
    """Those of the data report, from the worst model to the best; empty where nothing is validated on."""
    baselines = manifest.get("report", {}).get("baselines", [])
    baselines = [BaselineLoss(baseline["name"], baseline["loss"]) for baseline in baselines]
    return sorted(baselines, key=lambda baseline: -baseline.loss)


def compare_with(baselines: Sequence[BaselineLoss], loss: float) -> str:
    """The best model that a loss beats and the next one to beat; empty without baselines."""
    beaten = [baseline for baseline in baselines if loss < baseline.loss]
    ahead = [baseline for baseline in baselines if loss >= baseline.loss]
    words = [f"better than {beaten[-1].name} ({beaten[-1].loss:.2f})"] if beaten else []
    words += [f"next: {ahead[0].name} ({ahead[0].loss:.2f})"] if ahead else []
    return ", ".join(words)
