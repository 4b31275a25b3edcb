"""A step on N devices, planned without them: memory of a rank, bytes over the network, seconds by stated rates."""

from dataclasses import dataclass

import torch

from bittygpt.config import RunConfig
from bittygpt.core import TransformerLM
from bittygpt.core.choices import OPTIMIZERS
from bittygpt.core.muon import NEWTON_SCHULZ_STEPS, Muon
from bittygpt.errors import ConfigError
from bittygpt.planning.measure import Measured
from bittygpt.planning.network import (
    LINK_SHARE,
    MACHINE,
    StepTime,
    ddp_time,
    ddp_traffic,
    fsdp_time,
    fsdp_traffic,
    muon_traffic,
)
from bittygpt.training.devices.device import Device
from bittygpt.training.devices.device_table import DEVICES, data_sheet_of
from bittygpt.training.devices.memory import FLOAT, StepMemory, estimate_memory, num_trainable

SHARE_OF_PEAK = 0.4  # of the data sheet's FLOP/s that a step reaches, if nobody says otherwise
USABLE = 0.9  # of a device's memory: the rest is for kernels' workspaces and the estimate's error


@dataclass(frozen=True)
class Hardware:
    """What is planned for. `link`: bytes/s, one way, over the slowest link that a rank sends through.

    `flops`: FLOP/s of a step, None where a measured micro-batch tells instead.
    """

    device: Device
    world_size: int
    link: float
    flops: float | None
    memory_rate: float | None


@dataclass(frozen=True)
class RankPlan:
    """What each of the ranks holds, sends and takes, in one way to share the work out."""

    parallel: str
    memory: StepMemory
    exchange_buffers: int
    micro_batch_size: int
    accumulation: int
    traffic: int
    time: StepTime
    fits: bool

    @property
    def total_memory(self) -> int:
        """Bytes on each device."""
        return self.memory.total + self.exchange_buffers


def device_by_name(name: str, precision: str) -> Device:
    """A device of the table, which need not be here.

    Raises:
        ConfigError: it is not in the table.
    """
    sheet = data_sheet_of(name)
    if sheet is None:
        raise ConfigError(f"--device-name {name}: not in the table; there are {', '.join(DEVICES)}")
    kind = "fp32" if precision == "fp32" else "bf16"
    return Device(torch.device("cuda"), kind, memory=int(sheet.memory), name=name)


def hardware(
    device: Device, world_size: int, bandwidth: float | None, share_of_peak: float | None
) -> Hardware:
    """The rates to reckon with: those given, else the table's; of a device in no table a slow network's.

    Args:
        bandwidth: GB/s that a device sends, one way.
        share_of_peak: of the data sheet's FLOP/s; None: `SHARE_OF_PEAK`, or what is measured.
    """
    sheet = device.data_sheet()
    if bandwidth is not None:
        link = bandwidth * 1e9
    elif sheet is None:
        link = 1.25e9  # 10 Gb/s Ethernet
    else:
        link = LINK_SHARE * (sheet.link if world_size <= MACHINE else min(sheet.link, sheet.network))
    if sheet is None or not (device.name or share_of_peak):
        return Hardware(device, world_size, link, None, sheet.memory_rate if sheet else None)
    peak = sheet.bf16 if device.precision == "bf16" else sheet.fp32
    return Hardware(device, world_size, link, (share_of_peak or SHARE_OF_PEAK) * peak, sheet.memory_rate)


def check_batch(batch_size: int, world_size: int) -> None:
    """Raise ConfigError where the ranks cannot share a batch out evenly."""
    if batch_size % world_size:
        below = batch_size // world_size * world_size
        nearest = f"{below:,} or {below + world_size:,}" if below else f"{world_size:,}"
        raise ConfigError(
            f"train.batch_size: {batch_size} sequences cannot be shared out evenly among {world_size} ranks; "
            f"make it a multiple of {world_size}, such as {nearest}"
        )


def plan_ranks(
    config: RunConfig, model: TransformerLM, moments: int, on: Hardware, measured: Measured | None
) -> list[RankPlan]:
    """DDP and FSDP2 (one rank alone: neither), the one that `train.parallel` means first.

    Args:
        model: of the run's shape; it needs no numbers.
        moments: numbers that the optimizers keep.
    """
    if on.world_size == 1:
        return [_plan(config, model, moments, on, "one", measured)]
    ddp, fsdp = (_plan(config, model, moments, on, parallel, measured) for parallel in ("ddp", "fsdp"))
    wants_fsdp = config.train.parallel == "fsdp" or (config.train.parallel == "auto" and not ddp.fits)
    return [fsdp, ddp] if wants_fsdp else [ddp, fsdp]


def _plan(
    config: RunConfig,
    model: TransformerLM,
    moments: int,
    on: Hardware,
    parallel: str,
    measured: Measured | None,
) -> RankPlan:
    n, sequences = on.world_size, config.train.batch_size // on.world_size
    sharded = parallel == "fsdp"
    trained = FLOAT * num_trainable(model)
    buffers = trained if parallel == "ddp" else 0  # DDP copies the gradients into buckets
    limit = USABLE * on.device.total_memory()
    fixed = config.train.micro_batch_size
    divisors = [size for size in range(sequences, 0, -1) if sequences % size == 0]
    for size in divisors if fixed == "auto" else [min(sequences, int(fixed))]:
        memory = estimate_memory(
            model,
            size,
            moments / max(1, num_trainable(model)),
            on.device,
            shards=n if sharded else 1,
            accumulates=size < sequences,
        )
        if fits := memory.total + buffers <= limit:
            break
    micro_batches = -(-sequences // size)
    layers = FLOAT * sum(p.numel() for p in model.layers.parameters())
    around = FLOAT * model.num_parameters() - layers
    traffic = fsdp_traffic(layers, around, trained, n, micro_batches) if sharded else ddp_traffic(trained, n)
    micro_batch, update = _seconds(config, model, moments, on, size, measured)
    timed = fsdp_time if sharded else ddp_time
    between = 0
    if sharded:
        update /= n
        if issubclass(OPTIMIZERS[config.optim.name], Muon):
            product = 2 if on.device.precision == "bf16" else FLOAT
            inner = sum(p.numel() for p in model.layers.parameters() if p.ndim == 2)
            between = muon_traffic(product * inner, n)
    time = timed(micro_batch, micro_batches, update + between / on.link, traffic, on.link)
    traffic += between
    return RankPlan(parallel, memory, buffers, size, micro_batches, traffic, time, fits)


def _seconds(
    config: RunConfig,
    model: TransformerLM,
    moments: int,
    on: Hardware,
    size: int,
    measured: Measured | None,
) -> tuple[float, float]:
    """Of a micro-batch forward and backward, and of an update of all weights."""
    tokens = size * config.model.context_length
    if on.flops is None:
        assert measured is not None  # who gives no device has one here
        return measured.micro_batch * size / measured.micro_batch_size, measured.update
    # read weight, gradient and moments, write weight and moments
    update = FLOAT * (3 * num_trainable(model) + 2 * moments) / (on.memory_rate or 1e12)
    if issubclass(OPTIMIZERS[config.optim.name], Muon):
        update += orthogonalizing_flops(model) / on.flops
    return tokens * model.flops_per_token() / on.flops, update


def orthogonalizing_flops(model: TransformerLM) -> int:
    """Of Muon's products in one update: x xᵀ, its square, and their product with x, for each matrix in the layers."""
    total = 0
    for parameter in model.layers.parameters():
        if parameter.ndim == 2:
            short, long = sorted(parameter.shape)
            total += NEWTON_SCHULZ_STEPS * (4 * short * short * long + 2 * short**3)
    return total
