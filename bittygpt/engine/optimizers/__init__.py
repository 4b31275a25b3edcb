"""The fast paths of the optimizers: over lists of weights."""

from bittygpt.core import SGD, Adam, AdamW, Muon, Optimizer
from bittygpt.engine.optimizers.adam import FusedAdam, FusedAdamW
from bittygpt.engine.optimizers.lists import FusedOptimizer
from bittygpt.engine.optimizers.muon import FusedMuon
from bittygpt.engine.optimizers.sgd import FusedSGD

__all__ = ["FusedAdam", "FusedAdamW", "FusedMuon", "FusedOptimizer", "FusedSGD", "fused"]

FUSED: dict[type[Optimizer], type[Optimizer]] = {
    Adam: FusedAdam,
    AdamW: FusedAdamW,
    Muon: FusedMuon,
    SGD: FusedSGD,
}


def fused(kind: type[Optimizer]) -> type[Optimizer]:
    """The fast path of an optimizer's class; the class itself, where it has none."""
    return FUSED.get(kind, kind)
