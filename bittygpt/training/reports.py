"""What a training loop tells: steps, evaluations, checkpoints, and how it ended."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class StepReport:
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
class EvalReport:
    """A finished evaluation after `step` steps."""

    step: int
    val_loss: float
    val_bpb: float | None
    elapsed: float


@dataclass(frozen=True)
class SavedReport:
    """A checkpoint is on the disk."""

    step: int
    path: Path


@dataclass(frozen=True)
class DivergedReport:
    """Loss or gradient norm of `step` is not finite; the weights are those of the step before."""

    step: int
    loss: float
    grad_norm: float


@dataclass(frozen=True)
class InterruptedReport:
    """A stop was asked for; all up to `step` is saved."""

    step: int


Report = StepReport | EvalReport | SavedReport | DivergedReport | InterruptedReport
