"""Several processes, one model: what `torchrun` says of this process, and the few words they exchange."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta

import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel

TIMEOUT = timedelta(hours=6)  # the others wait while rank 0 prepares the tokens


@dataclass(frozen=True)
class Ranks:
    """This process's place among all: `rank` of `world_size`, and its number on its own machine."""

    rank: int = 0
    world_size: int = 1
    local_rank: int = 0

    @property
    def is_main(self) -> bool:
        """Whether this is rank 0, the one that writes and talks."""
        return self.rank == 0

    def rows(self, batch_size: int) -> tuple[int, int]:
        """First and end of the sequences of a global batch that are this rank's."""
        share = batch_size // self.world_size
        return self.rank * share, (self.rank + 1) * share

    def sum(self, numbers: torch.Tensor) -> torch.Tensor:
        """The sum over all ranks, in place."""
        if self.world_size > 1:
            dist.all_reduce(numbers)
        return numbers

    def wait(self) -> None:
        """Go on when all ranks have come here."""
        if self.world_size > 1:
            dist.barrier()


def ranks_from_environment() -> Ranks:
    """What `torchrun` set in the environment; one lone process without it."""
    environment = os.environ
    if "RANK" not in environment or "WORLD_SIZE" not in environment:
        return Ranks()
    return Ranks(
        int(environment["RANK"]), int(environment["WORLD_SIZE"]), int(environment.get("LOCAL_RANK", "0"))
    )


@contextmanager
def process_group(ranks: Ranks, device_type: str) -> Iterator[None]:
    """Join the other ranks (NCCL between GPUs, Gloo between CPUs) and leave them at the end."""
    if ranks.world_size == 1:
        yield
        return
    dist.init_process_group("nccl" if device_type == "cuda" else "gloo", timeout=TIMEOUT)
    try:
        yield
    finally:
        dist.destroy_process_group()


def share_gradients(model: nn.Module, ranks: Ranks) -> nn.Module:
    """The model as every rank has it: after a backward pass all hold the mean of all ranks' gradients."""
    return DistributedDataParallel(model) if ranks.world_size > 1 else model


@contextmanager
def keep_gradients_local(model: nn.Module, local: bool) -> Iterator[None]:
    """No exchange after the backward passes within, for all micro-batches but the last."""
    if local and isinstance(model, DistributedDataParallel):
        with model.no_sync():
            yield
    else:
        yield
