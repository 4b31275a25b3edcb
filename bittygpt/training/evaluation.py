"""How good the model is on text that it has not seen: loss per token and bits per byte, over fixed windows."""

import math
from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import nn

from bittygpt.core import IGNORE_INDEX, cross_entropy
from bittygpt.data.batches import Batch
from bittygpt.training.devices import Device
from bittygpt.training.distributed import Ranks


@dataclass(frozen=True)
class Evaluation:
    """`loss`: nats per token. `bits_per_byte`: the same surprise per byte of text, comparable between tokenizers;
    None when no target is text."""

    loss: float
    bits_per_byte: float | None
    num_tokens: int


@torch.no_grad()
def evaluate(
    model: nn.Module, batches: Iterable[Batch], token_bytes: torch.Tensor, device: Device, ranks: Ranks
) -> Evaluation:
    """Mean loss over all valid targets of the batches, which the ranks share out among themselves.

    Sums are float64: a million float32 terms would lose the digits that an evaluation is compared by.

    Args:
        token_bytes: (V,) int, how many bytes of text each token stands for (0 for special tokens).
    """
    was_training = model.training
    model.eval()
    sums = torch.zeros(3, dtype=torch.float64)
    for number, batch in enumerate(batches):
        if number % ranks.world_size != ranks.rank:
            continue
        ids = batch.ids.to(device.torch_device)
        with device.autocast():
            logits_BTV = model(ids)
        losses_BT = cross_entropy(logits_BTV, batch.targets.to(device.torch_device), reduction="none")
        valid = batch.targets[batch.targets != IGNORE_INDEX]
        sums += torch.tensor(
            [losses_BT.cpu().double().sum().item(), len(valid), int(token_bytes[valid].sum())]
        )
    model.train(was_training)
    on_device = ranks.sum(sums.to(device.torch_device) if device.is_cuda else sums)
    total, tokens, num_bytes = on_device.tolist()
    bits = total / math.log(2) / num_bytes if num_bytes else None
    return Evaluation(total / max(1, tokens), bits, int(tokens))
