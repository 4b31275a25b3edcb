"""How good the model is on text that it has not seen: loss per token and bits per byte, over fixed windows."""

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice

import torch
from torch import Tensor, nn

from bittygpt.core import IGNORE_INDEX
from bittygpt.data.batches import Batch
from bittygpt.training.devices.device import Device
from bittygpt.training.devices.memory import fits_in_memory
from bittygpt.training.distributed.parallel import is_sharded, reshard
from bittygpt.training.distributed.ranks import Ranks


@dataclass(frozen=True)
class Evaluation:
    """`loss`: nats per token. `bits_per_byte`: the same surprise per byte of text, comparable between tokenizers;
    None when no target is text."""

    loss: float
    bits_per_byte: float | None
    num_tokens: int

    @property
    def is_finite(self) -> bool:
        """Whether the loss is a finite number."""
        return abs(self.loss) < float("inf")


@torch.no_grad()
def evaluate(
    model: nn.Module,
    batches: Iterable[Batch],
    token_bytes: Tensor,
    device: Device,
    ranks: Ranks,
    stop_asked: Callable[[], bool] = lambda: False,
    make_room: Callable[[], bool] = lambda: False,
) -> Evaluation | None:
    """Mean loss over all valid targets of the batches, which the ranks share out among themselves; None: stopped.

    Sums are float64: a million float32 terms would lose the digits that an evaluation is compared by. In each round
    every rank takes a batch, also where there are fewer left than ranks: the parts of a sharded model are gathered
    by all together. Each round ends with a word on whether any rank was asked to stop.

    Args:
        token_bytes: (V,) int, how many bytes of text each token stands for (0 for special tokens).
        stop_asked: looked at after each round.
        make_room: gives memory back where it runs out; False: there was none to give.
    """
    was_training = model.training
    model.eval()
    sums = torch.zeros(3, dtype=torch.float64)
    stopped = False
    for round_of_batches in _rounds(batches, ranks.world_size):
        is_mine = ranks.rank < len(round_of_batches)
        batch = round_of_batches[ranks.rank if is_mine else 0]
        losses_BT = _token_losses(model, batch, device, not is_sharded(model), make_room)
        valid = batch.targets[batch.targets != IGNORE_INDEX]
        if is_mine:
            of_this = [losses_BT.sum().item(), len(valid), int(token_bytes[valid].sum())]
            sums += torch.tensor(of_this, dtype=torch.float64)
        stopped = not ranks.all_agree(not stop_asked(), device.torch_device)
        if stopped:
            break
    model.train(was_training)
    reshard(model)
    if stopped:
        return None
    total, tokens, num_bytes = ranks.sum(sums.to(device.torch_device) if device.is_cuda else sums).tolist()
    bits = total / math.log(2) / num_bytes if num_bytes else None
    return Evaluation(total / max(1, tokens), bits, int(tokens))


def _rounds(batches: Iterable[Batch], world_size: int) -> Iterator[list[Batch]]:
    source = iter(batches)
    while some := list(islice(source, world_size)):
        yield some


def _token_losses(
    model: nn.Module, batch: Batch, device: Device, may_halve: bool, make_room: Callable[[], bool]
) -> Tensor:
    """The loss of every target, (B, T) float64 in main memory; half the sequences at a time where memory runs out."""
    done: list[Tensor] = []

    def attempt() -> None:
        ids = batch.ids.to(device.torch_device)
        targets = batch.targets.to(device.torch_device)
        with device.autocast():
            losses_BT = model(ids, targets_BT=targets, reduction="none")
        done.append(losses_BT.cpu().double())

    if not may_halve:
        attempt()
    elif not fits_in_memory(attempt) and not (make_room() and fits_in_memory(attempt)):
        if len(batch.ids) == 1:
            attempt()  # for what it raises
            return done[0]
        half = len(batch.ids) // 2
        parts = (batch.rows(0, half), batch.rows(half, len(batch.ids)))
        return torch.cat([_token_losses(model, part, device, may_halve, make_room) for part in parts])
    return done[0]
