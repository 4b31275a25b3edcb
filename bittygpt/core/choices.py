"""The optimizers that a config may name. A new one is a class in a file of its own, and a line here."""

from bittygpt.core.adamw import Adam, AdamW
from bittygpt.core.muon import Muon
from bittygpt.core.optimizer import Optimizer
from bittygpt.core.sgd import SGD

OPTIMIZERS: dict[str, type[Optimizer]] = {"adamw": AdamW, "muon": Muon, "adam": Adam, "sgd": SGD}
