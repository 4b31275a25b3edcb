"""The reports that a training loop yields: steps, evaluations, checkpoints, trouble, and how it ended."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from bittygpt.training.divergence import Rewind


@dataclass(frozen=True)
class Report:
    """The base class of all reports."""


@dataclass(frozen=True)
class StepReport(Report):
    """A step that is to be logged. Rates and `data_wait` (seconds a step) are means since the report before."""

    step: int
    tokens: int
    loss: float
    grad_norm: float
    lr: float
    tokens_per_second: float
    mfu: float | None
    data_wait: float
    memory_gb: float
    batch_hash: str
    elapsed: float


@dataclass(frozen=True)
class EvalReport(Report):
    """A finished evaluation after `step` steps."""

    step: int
    val_loss: float
    val_bpb: float | None
    elapsed: float


@dataclass(frozen=True)
class SavedReport(Report):
    """A checkpoint is on the disk."""

    step: int
    path: Path


@dataclass(frozen=True)
class LowSpaceReport(Report):
    """The next checkpoint, due after `due` steps, will not find room; `due` None: one has just failed for that."""

    step: int
    due: int | None
    free: int
    needed: int


@dataclass(frozen=True)
class RewindReport(Report):
    """The run went back from a divergence."""

    rewind: Rewind


@dataclass(frozen=True)
class SmallerMicroBatchReport(Report):
    """Memory ran out in `step`, which is done again with smaller micro-batches."""

    step: int
    micro_batch_size: int


@dataclass(frozen=True)
class SampleDueReport(Report):
    """It is time for texts of the model as it is after `step` steps; the time they take counts for no rate."""

    step: int


@dataclass(frozen=True)
class SampleReport(Report):
    """A text that the model wrote after `step` steps, without the prompt."""

    step: int
    prompt: str
    text: str
    elapsed: float


@dataclass(frozen=True)
class OutOfTimeReport(Report):
    """The time budget (seconds) has no room for `what`, which takes `needed` seconds in all.

    "steps": for none at `step`; after the first start one is taken all the same. "evaluation": that of `step` was
    broken off at the deadline. "evaluations": for none in the whole run.
    """

    step: int
    what: Literal["steps", "evaluation", "evaluations"]
    needed: float = 0.0
    budget: float = 0.0


@dataclass(frozen=True)
class DivergedReport(Report):
    """`step` diverged once too often; the weights are those of the step before."""

    step: int
    reason: str


@dataclass(frozen=True)
class InterruptedReport(Report):
    """A stop was asked for; all up to `step` is saved."""

    step: int
