"""Several processes, one model: what `torchrun` says of this process, and the few words they exchange."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta

import torch
import torch.distributed as dist

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

    def all_agree(self, mine: bool, device: torch.device) -> bool:
        """Whether it is so on every rank."""
        if self.world_size == 1:
            return mine
        return bool(self.sum(torch.tensor(float(mine), device=device)).item() == self.world_size)

    def told_by_main(self, value: bool) -> bool:
        """What rank 0 says; the others' own value counts for nothing."""
        if self.world_size == 1:
            return value
        said = [value]
        dist.broadcast_object_list(said, src=0)
        return said[0]

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
def process_group(ranks: Ranks, device_type: str) -> Iterator[dist.Store | None]:
    """Join the other ranks (NCCL between GPUs, Gloo between CPUs) and leave them at the end.

    Gives the store that they all read and write; None for a lone process.
    """
    if ranks.world_size == 1:
        yield None
        return
    store, rank, world_size = next(dist.rendezvous("env://", timeout=TIMEOUT))
    store.set_timeout(TIMEOUT)
    dist.init_process_group(
        "nccl" if device_type == "cuda" else "gloo",
        store=dist.PrefixStore("group", store),
        rank=rank,
        world_size=world_size,
        timeout=TIMEOUT,
    )
    try:
        yield store
    finally:
        dist.destroy_process_group()
