"""Why a planned run cannot work, and which key to change."""

from pathlib import Path

from bittygpt.config import RunConfig
from bittygpt.planning.estimate import Hardware, RankPlan
from bittygpt.planning.plan import DiskPlan
from bittygpt.training.devices.device import Device
from bittygpt.training.devices.memory import StepMemory


def disk_faults(disk: DiskPlan, folder: Path, keep: int, steps_left: int) -> list[str]:
    """Why the checkpoints of what is left to do would find no room."""
    if not steps_left or disk.free >= disk.needed:
        return []
    beginning = (
        f"disk: {folder} will hold {disk.kept} checkpoints of {disk.checkpoint / 1e6:,.0f} MB each, "
        f"and there is room for {disk.room_for} more"
    )
    fewer = keep - (disk.needed // disk.checkpoint - disk.room_for)
    if disk.room_for and fewer >= 1:
        return [f"{beginning}; make room, set train.keep to {fewer}, or set run.dir to another disk"]
    return [f"{beginning}; make room, or set run.dir to another disk"]


def memory_faults(memory: StepMemory, process: int, available: int, device: Device, size: int) -> list[str]:
    """Why a step does not fit a device, with the key to change.

    A device that refuses memory it does not have is asked, rather, as long as what is certain fits.
    """
    total = memory.total + process
    if device.refuses_memory and memory.weights + memory.gradients + memory.moments <= available:
        return []
    if total <= available:
        return []
    remedy = (
        f"set train.micro_batch_size below {size} (the batch and its result stay the same)"
        if size > 1
        else "make model.d_model, model.num_layers, model.context_length or tokenizer.vocab_size smaller, "
        "or share the model out (train.parallel: fsdp; --world-size plans it)"
    )
    return [
        f"memory: a step needs about {total / 1e9:.1f} GB and {device.torch_device} has {available / 1e9:.1f} GB: "
        f"{memory.describe()}; {remedy}"
    ]


def rank_fault(config: RunConfig, first: RankPlan, other: RankPlan, on: Hardware) -> str:
    """Why the way in which `train.parallel` shares the work out does not fit its devices."""
    beginning = (
        f"memory: with {first.parallel} each of {on.world_size} devices needs about "
        f"{first.total_memory / 1e9:.1f} GB and has {on.device.total_memory() / 1e9:.1f} GB"
    )
    if config.train.micro_batch_size != "auto" and first.micro_batch_size > 1:
        return f"{beginning}; set train.micro_batch_size below {first.micro_batch_size}, or to auto"
    if other is not first and other.fits:
        return f"{beginning}; set train.parallel to {other.parallel}, which fits"
    return (
        f"{beginning}; take more devices with train.parallel: fsdp, or larger ones, or make the model smaller"
    )
