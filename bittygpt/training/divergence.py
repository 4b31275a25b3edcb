"""Divergence: what counts as one, which data is left out after it, and when a run gives up.

The answer is that of Chowdhery et al. 2022 (PaLM, section 5.1): go back, and leave out the data that did it. Nothing
here depends on anything but the losses, so a resumed run decides as the run that was never stopped.
"""

import math
from collections import deque
from dataclasses import asdict, dataclass
from typing import Any

from bittygpt.data.batches import Batch
from bittygpt.training.step import StepResult

WINDOW = 64  # losses that a spike is measured against
DEVIATIONS = 8.0  # standard deviations above their mean,
NATS = 1.0  # and at least so much
TEXT_TOKENS = 64  # of a batch that diverged, shown
MOST_REWINDS, WITHIN_STEPS = 3, 1000
NOTHING_YET: dict[str, Any] = {
    "rewinds": [],
    "recent_losses": [],
}  # the state of a guard that has seen no step


@dataclass(frozen=True)
class Rewind:
    """A divergence that the run went back from.

    `at`: the step that diverged. `to`: the step after which the state was that the run went back to. `first` to
    `last`: numbers of the batches left out for good. `loss` and `grad_norm` are None where they are not finite.
    `text`: the beginning of the batch.
    """

    at: int
    to: int
    first: int
    last: int
    reason: str
    loss: float | None
    grad_norm: float | None
    batch_hash: str
    text: str


class DivergenceGuard:
    """Watches the losses of a run, and knows which batches are left out."""

    def __init__(self) -> None:
        self.rewinds: list[Rewind] = []
        self.losses: deque[float] = deque(maxlen=WINDOW)

    def fault(self, result: StepResult) -> str | None:
        """Why no update may be made of a step; None: it is sound.

        Its loss or gradient norm is not finite, or the loss stands out of the `WINDOW` losses before it by more than
        `DEVIATIONS` standard deviations and more than `NATS` nats.
        """
        if not result.is_finite:
            return f"the loss is {result.loss:.4g} and the gradient norm {result.grad_norm:.4g}"
        if len(self.losses) < WINDOW:
            return None
        mean = math.fsum(self.losses) / WINDOW
        deviation = math.sqrt(math.fsum((loss - mean) ** 2 for loss in self.losses) / WINDOW)
        if result.loss > mean + max(DEVIATIONS * deviation, NATS):
            return f"the loss is {result.loss:.4g}, after {mean:.4g} ± {deviation:.2g} in the {WINDOW} steps before"
        return None

    def batch_number(self, step: int) -> int:
        """Which batch of the undisturbed order a step takes, those left out passed over. Both count from 1."""
        number = step
        for first, last in self._left_out():
            if number >= first:
                number += last - first + 1
        return number

    def _left_out(self) -> list[tuple[int, int]]:
        """Ranges of batch numbers, ascending; a later one holds an earlier one wholly or not at all."""
        ranges: list[tuple[int, int]] = []
        for rewind in self.rewinds:
            ranges = [r for r in ranges if r[0] < rewind.first] + [(rewind.first, rewind.last)]
        return ranges

    def leave_out(
        self, at: int, to: int, number: int, result: StepResult, reason: str, batch: Batch, text: str
    ) -> Rewind:
        """Note that step `at` diverged with batch `number`, and that the run went back to the state after step `to`."""
        rewind = Rewind(
            at=at,
            to=to,
            first=self.batch_number(to + 1),
            last=number,
            reason=reason,
            loss=result.loss if math.isfinite(result.loss) else None,
            grad_norm=result.grad_norm if math.isfinite(result.grad_norm) else None,
            batch_hash=batch.hash(),
            text=text,
        )
        self.rewinds.append(rewind)
        return rewind

    def may_rewind(self, step: int) -> bool:
        """False when the run has gone back `MOST_REWINDS` times within `WITHIN_STEPS` steps."""
        return sum(step - rewind.at < WITHIN_STEPS for rewind in self.rewinds) < MOST_REWINDS

    def state_is_suspect(self, step: int) -> bool:
        """Whether other data has diverged at the same step before: then it is the weights that are bad."""
        return any(rewind.at == step for rewind in self.rewinds)

    def state(self) -> dict[str, Any]:
        """All of it, as JSON."""
        return {"rewinds": [asdict(rewind) for rewind in self.rewinds], "recent_losses": list(self.losses)}

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from what `state` gave."""
        self.rewinds = [Rewind(**rewind) for rewind in state["rewinds"]]
        self.losses = deque(state["recent_losses"], maxlen=WINDOW)
