"""The ranks that train one model: what `torchrun` sets for this process, and small collectives."""

import os
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import TypeVar

import torch
import torch.distributed as dist

from bittygpt.errors import DivergedError, InterruptedRunError, RankLostError

TIMEOUT = timedelta(hours=6)  # the others wait while rank 0 prepares the tokens


T = TypeVar("T")


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

    def smallest(self, mine: int) -> int:
        """The minimum over all ranks."""
        if self.world_size == 1:
            return mine
        all_of_them = [mine] * self.world_size
        dist.all_gather_object(all_of_them, mine)
        return min(all_of_them)

    def broadcast(self, value: T) -> T:
        """The value of rank 0, on every rank.

        Rank 0 alone looks at the disk: another machine may see a shared file system a minute later.
        """
        if self.world_size == 1:
            return value
        said = [value]
        dist.broadcast_object_list(said, src=0)
        return said[0]

    def wait(self) -> None:
        """A barrier."""
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
def process_group(ranks: Ranks, device: torch.device) -> Iterator[dist.Store | None]:
    """Join the other ranks (NCCL between GPUs, Gloo between CPUs) and leave them at the end.

    Gives the store that they all read and write; None for a lone process.
    """
    if ranks.world_size == 1:
        yield None
        return
    store, _, _ = next(dist.rendezvous("env://", timeout=TIMEOUT))
    store = dist.PrefixStore(_agree_on_prefix(store, ranks), store)
    dist.init_process_group(
        "nccl" if device.type == "cuda" else "gloo",
        store=dist.PrefixStore("group", store),
        rank=ranks.rank,
        world_size=ranks.world_size,
        timeout=TIMEOUT,
        device_id=device if device.type == "cuda" else None,
    )
    try:
        yield store
    except (InterruptedRunError, DivergedError):  # all ranks leave together
        dist.destroy_process_group()
        raise
    dist.destroy_process_group()  # not after other errors: it would wait for ranks that are gone


def _agree_on_prefix(store: dist.Store, ranks: Ranks) -> str:
    """A prefix for the keys of this process group, the same on all ranks and never used before.

    After a restart `torchrun` may hand out the store of the processes before, with their addresses still in it. So
    each rank asks under a random id, and rank 0 answers every id that it finds, also those of processes that are gone,
    until all ranks have acknowledged its own.
    """
    mine = uuid.uuid4().hex
    others = range(1, ranks.world_size)
    if not ranks.is_main:
        store.set(f"ask/{ranks.rank}", mine)
        prefix = store.get(f"answer/{mine}").decode()
        store.set(f"thanks/{prefix}/{ranks.rank}", "")
        return prefix
    answered: set[str] = set()
    deadline = time.monotonic() + TIMEOUT.total_seconds()
    while not all(store.check([f"thanks/{mine}/{rank}"]) for rank in others):
        for rank in others:
            if store.check([f"ask/{rank}"]) and (asker := store.get(f"ask/{rank}").decode()) not in answered:
                answered.add(asker)
                store.set(f"answer/{asker}", mine)
        if time.monotonic() > deadline:
            raise RankLostError(f"not all of the {ranks.world_size} ranks have come")
        time.sleep(0.02)
    return mine
