"""One optimizer step, visible from top to bottom: the gradients of a batch, and the update that they make.

Shapes: B batch (of this rank), T positions.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from bittygpt.data.batches import Batch
from bittygpt.engine.optimizers.grad_clip import clip_grad_norm
from bittygpt.training.devices.device import Device
from bittygpt.training.distributed.parallel import full_tensor, no_sync
from bittygpt.training.distributed.ranks import Ranks


class Broadcast(NamedTuple):
    """What rank 0 decides for a step: the run's progress after it, and whether there is time for a pause then.

    The last step (progress 1) is followed by a checkpoint and an evaluation, whatever `may_pause` says.
    """

    progress: float = 0.0
    may_pause: bool = True


NO_BROADCAST = Broadcast()


@dataclass(frozen=True)
class StepResult:
    """Mean loss over the step's valid targets in nats, and the gradients' norm before clipping."""

    loss: float
    grad_norm: float
    stop_asked: bool = False
    broadcast: Broadcast = NO_BROADCAST

    @property
    def is_finite(self) -> bool:
        """Whether both are numbers that an update may be made of."""
        return all(abs(x) < float("inf") for x in (self.loss, self.grad_norm))


def forward_and_backward(
    model: nn.Module, micro: Batch, num_valid: int, device: Device, ranks: Ranks
) -> Tensor:
    """Add the gradients of a micro-batch's summed loss, divided by `num_valid`; gives that loss."""
    # on a GPU a tensor, as where it is captured: a division by a number is rounded differently there
    divisor = torch.full((), float(num_valid), device=device.torch_device) if device.is_cuda else num_valid
    loss = micro_batch_loss(model, micro, device) / divisor
    (loss * ranks.world_size).backward()  # the exchange takes the mean over ranks; the loss is their sum
    return loss.detach()


def compute_gradients(
    model: nn.Module,
    batch: Batch,
    *,
    grad_clip: float,
    micro_batch_size: int,
    device: Device,
    ranks: Ranks,
    stop_asked: bool = False,
    broadcast: Broadcast = NO_BROADCAST,
    captured: Callable[[Tensor, Tensor, int], Tensor | None] = lambda *_: None,
) -> StepResult:
    """Put the clipped gradients of a step's global batch into the model; the weights stay as they are.

    The loss is the sum over all valid targets of all micro-batches on all ranks, divided once by their number: the
    same whichever way the batch is cut. The ranks exchange gradients once, after the last micro-batch. `stop_asked`
    travels with the loss, so that all ranks learn of a signal that any of them got; so does what rank 0 broadcasts.
    `captured` is tried before `forward_and_backward`: the same, unless it gives None (`engine/cuda_graphs.py`).
    """
    num_valid = max(1, batch.num_valid())
    own = batch.rows(*ranks.rows(len(batch.ids)))
    parameters = list(model.parameters())
    for parameter in parameters:
        parameter.grad = None

    from_main = [*map(float, broadcast)] if ranks.is_main else [0.0] * len(broadcast)
    sums = device.tensor_of([0.0, float(stop_asked), *from_main])
    for first in range(0, len(own.ids), micro_batch_size):
        micro = own.rows(first, first + micro_batch_size)
        is_last = first + micro_batch_size >= len(own.ids)
        with no_sync(model, local=not is_last):
            loss = captured(micro.ids, micro.targets, num_valid)
            sums[0] += forward_and_backward(model, micro, num_valid, device, ranks) if loss is None else loss

    ranks.sum(sums)
    grad_norm = full_tensor(clip_grad_norm(parameters, grad_clip))
    total, stop, progress, may_pause = sums.tolist()
    return StepResult(total, grad_norm.item(), stop > 0, Broadcast(progress, may_pause > 0))


def update_weights(
    optimizers: Sequence[Optimizer], lr: float, captured: Callable[[], bool] = lambda: False
) -> None:
    """Move the weights once, by the gradients that are there. `lr` is that of a group whose `lr_scale` is 1.

    `captured` is tried before the optimizers' own step: the same, unless it gives False.
    """
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["lr"] = lr * group.get("lr_scale", 1.0)
    if not captured():
        for optimizer in optimizers:
            optimizer.step()


def micro_batch_loss(model: nn.Module, micro: Batch, device: Device) -> Tensor:
    """The summed loss of a micro-batch in nats, with the matrix products in the device's precision."""
    ids = micro.ids.to(device.torch_device, non_blocking=True)
    targets = micro.targets.to(device.torch_device, non_blocking=True)
    with device.autocast():
        loss: Tensor = model(ids, targets_BT=targets)
    return loss
