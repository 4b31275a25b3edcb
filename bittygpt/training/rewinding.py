"""Going back from a divergence: the state in hand or an earlier one, and the data that is left out from then on."""

from collections.abc import Generator

from bittygpt.data.batches import Batch
from bittygpt.training.divergence import MOST_REWINDS, TEXT_TOKENS, WITHIN_STEPS
from bittygpt.training.events import DivergedReport, Report, RewindReport
from bittygpt.training.state import TrainingState
from bittygpt.training.step import StepResult


def rewind(
    trainer: TrainingState, number: int, batch: Batch, result: StepResult, reason: str
) -> Generator[Report, None, bool]:
    """Leave out the batch that diverged, or go further back; True: give up.

    No update was made, so the state in hand is the last good one; unless other data has diverged in the same step.
    Then the run goes back to the last checkpoint, and all that it has read since is left out.
    """
    guard, at = trainer.guard, trainer.step + 1
    if not guard.may_rewind(at):
        yield DivergedReport(at, f"{reason}, after {MOST_REWINDS} rewinds within {WITHIN_STEPS:,} steps")
        return True
    if guard.state_is_suspect(at):
        _go_back(trainer)
    text = trainer.tokenizer.decode(batch.ids[0, :TEXT_TOKENS].tolist())
    made = guard.leave_out(at, trainer.step, number, result, reason, batch, text)
    trainer.val_losses = {step: loss for step, loss in trainer.val_losses.items() if step <= trainer.step}
    yield RewindReport(made)
    trainer.meter.restart(trainer.step)
    return False


def give_up(trainer: TrainingState, val_loss: float) -> Generator[Report, None, bool]:
    """An evaluation has found the weights ruined, by the update before it: the run ends without them; True."""
    trainer.saver.quarantine(trainer.step)
    yield DivergedReport(trainer.step, f"the validation loss is {val_loss:.4g}")
    return True


def _go_back(trainer: TrainingState) -> None:
    """Everything as it was at the last checkpoint before this step, or at the start; but what is left out stays."""
    rewinds = trainer.guard.rewinds
    trainer.load_state(trainer.saver.go_back(before=trainer.step))
    trainer.guard.rewinds = rewinds
