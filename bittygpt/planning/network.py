"""How many bytes the devices of a run send one another in a step, and how long that takes. Formulas alone.

In a ring of N devices each hands on to the next what it got from the one before. To gather S bytes that are shared out,
or to sum S bytes and share the sum out, each sends (N - 1) / N · S; to sum them so that all have the sum, both one
after the other (Patarasuk & Yuan 2009).
"""

from dataclasses import dataclass

LINK_SHARE = 0.75  # of a link's data sheet, which an exchange of large buffers reaches
MACHINE = 8  # devices in a machine
MUON_GATHERS = 10.4  # counted, with PyTorch 2.13: 7.3 gathered and 1.54 summed, in Muon's precision


def all_gather_bytes(size: float, devices: int) -> float:
    """Bytes that a device sends so that all have the `size` bytes that they share out; also to sum and share out."""
    return size * (devices - 1) / devices


def all_reduce_bytes(size: float, devices: int) -> float:
    """Bytes that a device sends so that all have the sum of `size` bytes."""
    return 2 * all_gather_bytes(size, devices)


def ddp_traffic(gradients: int, devices: int) -> int:
    """Bytes that a device sends in a step of DDP: the gradients are summed once, however many micro-batches it has."""
    return round(all_reduce_bytes(gradients, devices))


def fsdp_traffic(layers: int, around: int, gradients: int, devices: int, micro_batches: int) -> int:
    """Bytes that a device sends in a step of FSDP2.

    In every micro-batch the layers' weights (`layers` bytes) are gathered twice, forward and backward, as they are let
    go of in between, and those `around` them once. The gradients are summed and shared out once.
    """
    each = 2 * all_gather_bytes(layers, devices) + all_gather_bytes(around, devices)
    return round(micro_batches * each + all_gather_bytes(gradients, devices))


def muon_traffic(matrices: int, devices: int) -> int:
    """Bytes that a device sends in an update by Muon of `matrices` bytes that FSDP2 shares out, about.

    Each Newton-Schulz step gathers a stack of matrices, and sums products where these are cut the other way.
    """
    return round(all_gather_bytes(MUON_GATHERS * matrices, devices))


@dataclass(frozen=True)
class StepTime:
    """Seconds of a step. `exposed`: what of the exchange nothing is computed beside."""

    compute: float
    exchange: float
    exposed: float
    update: float

    @property
    def step(self) -> float:
        """The whole step."""
        return self.compute + self.exposed + self.update


def ddp_time(micro_batch: float, micro_batches: int, update: float, traffic: int, rate: float) -> StepTime:
    """Gradients are exchanged while the last micro-batch goes backward, two thirds of its time.

    Args:
        micro_batch: seconds forward and backward.
        rate: bytes/s that a device sends.
    """
    exchange = traffic / rate
    exposed = max(0.0, exchange - 2 / 3 * micro_batch)
    return StepTime(micro_batch * micro_batches, exchange, exposed, update)


def fsdp_time(micro_batch: float, micro_batches: int, update: float, traffic: int, rate: float) -> StepTime:
    """Each layer is gathered while the one before is computed: the slower of the two decides."""
    compute, exchange = micro_batch * micro_batches, traffic / rate
    return StepTime(compute, exchange, max(0.0, exchange - compute), update)
