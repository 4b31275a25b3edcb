"""One model on many devices, by PyTorch's own engines: DDP where each holds all of it, FSDP2 where each holds a part.

DDP: Li et al. 2020. Fully sharded: Rajbhandari et al. 2020 (ZeRO, stage 3), Zhao et al. 2023. FSDP2 is imported only
when a model is sharded, as that takes a second.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from bittygpt.core import TransformerLM
from bittygpt.training.devices.device import Device
from bittygpt.training.distributed.ranks import Ranks


def shard_model(model: TransformerLM, ranks: Ranks, device: Device, compile_it: bool) -> None:
    """Cut every parameter into as many parts as there are ranks; each keeps one. A layer is whole while it computes.

    Layers reach the device one after the other, so that it never holds the whole model. Each is compiled for itself:
    the gathering in between is no part of the graph.
    """
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    mesh = init_device_mesh(device.torch_device.type, (ranks.world_size,))
    for layer in model.layers:
        if compile_it:
            layer.compile()
        fully_shard(layer, mesh=mesh)
    fully_shard(model, mesh=mesh)


def wrap_in_ddp(model: nn.Module, ranks: Ranks) -> nn.Module:
    """The model as every rank trains it: after a backward pass all hold the mean of all ranks' gradients."""
    if ranks.world_size == 1 or is_sharded(model):
        return model
    shared = DistributedDataParallel(model)
    # they are tables, the same on all ranks, and need not be sent with every pass
    shared.broadcast_buffers = False
    return shared


@contextmanager
def no_sync(model: nn.Module, local: bool) -> Iterator[None]:
    """No exchange of gradients after the backward passes within, for all micro-batches but the last."""
    if is_sharded(model):
        cast(Any, model).set_requires_gradient_sync(not local)
        yield
    elif local and isinstance(model, DistributedDataParallel):
        with model.no_sync():
            yield
    else:
        yield


def is_sharded(model: nn.Module) -> bool:
    """Whether FSDP2 shards it: each rank holds a part of every parameter."""
    return hasattr(model, "set_requires_gradient_sync")


def reshard(model: nn.Module) -> None:
    """Free the gathered parameters after a pass without gradients: the next pass would use them, and they get none."""
    if is_sharded(model):
        cast(Any, model).reshard()


def full_tensor(tensor: Tensor) -> Tensor:
    """The whole of a sharded tensor; all ranks must call this together."""
    return cast(Any, tensor).full_tensor() if _is_dtensor(tensor) else tensor


def local_shard(tensor: Tensor) -> Tensor:
    """This rank's shard of a tensor; all of it where it is not sharded."""
    return cast(Any, tensor).to_local() if _is_dtensor(tensor) else tensor


def _is_dtensor(tensor: Tensor) -> bool:
    return hasattr(tensor, "full_tensor")


def distribute_like(parameter: Tensor, value: Tensor) -> Tensor:
    """A whole tensor, moved to a parameter's device, and sharded as it is."""
    value = value.to(parameter.device)
    if not _is_dtensor(parameter):
        return value
    from torch.distributed.tensor import distribute_tensor

    layout = cast(Any, parameter)
    return distribute_tensor(value, layout.device_mesh, layout.placements, src_data_rank=None)


def snapshot(model: nn.Module) -> dict[str, Tensor]:
    """A copy in main memory of this rank's shard of every parameter."""
    return {name: local_shard(p.detach()).cpu().clone() for name, p in model.named_parameters()}


@torch.no_grad()
def restore_snapshot(model: nn.Module, copy: dict[str, Tensor]) -> None:
    """Set the parameters back to a `snapshot`."""
    for name, parameter in model.named_parameters():
        local_shard(parameter).copy_(copy[name])
