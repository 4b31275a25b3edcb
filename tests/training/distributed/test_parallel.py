"""What the ranks send each other, counted, and what a part of a tensor is."""

import pytest
import torch
import torch.distributed as dist
from torch.profiler import ProfilerActivity, profile
from torch.testing._internal.distributed.fake_pg import FakeStore

from bittygpt.core import ModelConfig, TransformerLM
from bittygpt.data.batches import Batch
from bittygpt.training.devices.device import Device
from bittygpt.training.distributed import parallel
from bittygpt.training.distributed.parallel import (
    distribute_like,
    full_tensor,
    is_sharded,
    local_shard,
    restore_snapshot,
    shard_model,
    snapshot,
    wrap_in_ddp,
)
from bittygpt.training.distributed.ranks import Ranks
from bittygpt.training.step import compute_gradients

CPU = Device(torch.device("cpu"), "fp32")


@pytest.fixture
def group(request):
    """A process group of this process alone; "fake" does as if there were another one that sends nothing."""
    backend, size = request.param
    store = FakeStore() if backend == "fake" else dist.HashStore()
    dist.init_process_group(backend, rank=0, world_size=size, store=store)
    yield Ranks(0, size)
    dist.destroy_process_group()


def a_model():
    return TransformerLM(ModelConfig(30, 8, 16, 2, 2, d_ff=33))


def messages(model, micro_batch_size, ranks):
    batch = Batch(torch.randint(0, 30, (8, 8)), torch.randint(0, 30, (8, 8)))
    settings = {"grad_clip": 1.0, "micro_batch_size": micro_batch_size, "device": CPU, "ranks": ranks}
    for _ in range(2):  # DDP agrees on its buckets in the first passes
        compute_gradients(model, batch, **settings)
    with profile(activities=[ProfilerActivity.CPU]) as seen:
        compute_gradients(model, batch, **settings)
    return {event.key: event.count for event in seen.key_averages() if event.key.startswith("c10d::")}


@pytest.mark.parametrize("group", [("gloo", 1)], indirect=True)
@pytest.mark.parametrize("micro_batch_size", [8, 2, 1])
def test_ddp_sends_gradients_once_and_nothing_else(group, micro_batch_size):
    model = wrap_in_ddp(a_model(), Ranks(0, 2))
    assert messages(model, micro_batch_size, group) == {"c10d::allreduce_": 1}


@pytest.mark.parametrize("group", [("fake", 2)], indirect=True)
def test_sharding_gathers_for_every_pass_and_sends_gradients_once(group):
    model = a_model()
    shard_model(model, group, CPU, compile_it=False)
    assert wrap_in_ddp(model, group) is model
    counts = [messages(model, size, group) for size in (4, 1)]
    assert [c["c10d::_reduce_scatter_base_"] for c in counts] == [3, 3], "two layers, and what is around them"
    assert counts[1]["c10d::_allgather_base_"] == 4 * counts[0]["c10d::_allgather_base_"]


@pytest.mark.parametrize("group", [("fake", 2)], indirect=True)
def test_a_rank_holds_its_part_alone(group):
    plain, model = a_model(), a_model()
    shard_model(model, group, CPU, compile_it=False)
    assert is_sharded(model)
    for p, q in zip(plain.parameters(), model.parameters(), strict=True):
        part = local_shard(q.detach())
        assert part.numel() == -(-len(p) // 2) * p[0].numel()
        assert torch.equal(local_shard(distribute_like(q, p.detach())), p.detach()[: len(part)])


def test_a_lone_process_has_the_whole():
    model = a_model()
    assert not is_sharded(model)
    assert wrap_in_ddp(model, Ranks()) is model
    weight = model.lm_head.weight
    assert full_tensor(weight) is weight
    assert local_shard(weight) is weight
    copy = snapshot(model)
    with torch.no_grad():
        weight.add_(1)
    restore_snapshot(model, copy)
    assert torch.equal(weight, copy["lm_head.weight"])


def test_importing_it_does_not_take_the_second_that_sharding_needs():
    assert "fully_shard" not in vars(parallel)
