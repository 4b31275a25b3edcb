"""How much memory a training step takes, by part, and the largest micro-batch that fits."""

from dataclasses import dataclass

import torch
from torch import nn

from bittygpt.core import TransformerLM
from bittygpt.core.chunked_loss import logits_at_once
from bittygpt.errors import OutOfMemoryError
from bittygpt.training.devices import Device

# Share of the device's memory that an estimate may reach: the rest is for the allocator, kernels' workspaces and the
# estimate's error. Where a size is tried before it is taken, the estimate only has to leave out the hopeless.
USABLE, USABLE_IF_TRIED = 0.7, 1.0
FLOAT = 4


@dataclass(frozen=True)
class StepMemory:
    """Bytes on one device."""

    weights: int
    gradients: int
    moments: int
    activations: int
    logits: int

    @property
    def total(self) -> int:
        """All parts together."""
        return self.weights + self.gradients + self.moments + self.activations + self.logits

    def describe(self) -> str:
        """One line that names every part in GB."""
        parts = ("weights", "gradients", "moments", "activations", "logits")
        return ", ".join(f"{part} {getattr(self, part) / 1e9:.2f} GB" for part in parts)


def num_trained(model: nn.Module) -> int:
    """How many numbers of a model are not frozen."""
    return sum(p.numel() for p in model.parameters() if p.requires_grad)


def estimate_memory(
    model: TransformerLM, micro_batch_size: int, moments: int, device: Device, shards: int = 1
) -> StepMemory:
    """What a step keeps: weights and what belongs to each, and per token what the backward pass will ask for.

    Counted for each layer and token: the inputs of its products in the products' precision, and the float32 tensors
    that norms, RoPE, activation and residual sums hold. `moments`: numbers the optimizer keeps for each weight that is
    trained. `shards`: over how many devices the weights are shared out; a device gathers one layer at a time, and
    embedding and head with it. The gradients of micro-batches stay whole until the last one's, when they are exchanged.
    """
    config = model.config
    tokens = micro_batch_size * config.context_length
    trained = FLOAT * num_trained(model)
    weights = FLOAT * model.num_parameters()
    layer = FLOAT * sum(p.numel() for p in model.layers[0].parameters())
    gathered = 0 if shards == 1 else weights - (len(model.layers) - 1) * layer
    product = 2 if device.precision == "bf16" else FLOAT
    logits = min(tokens * config.vocab_size, logits_at_once(device.torch_device))
    per_layer = config.d_model * (6 * product + 10 * FLOAT) + config.feed_forward_width * (
        4 * product + FLOAT
    )
    return StepMemory(
        weights=weights // shards + gathered,
        gradients=trained if shards == 1 else trained + trained // shards,
        moments=moments * trained // shards,
        activations=tokens * (config.num_layers * per_layer + 4 * FLOAT * config.d_model),
        # of a chunk the logits in both precisions, and the output weight's gradient, which is there before the others
        logits=logits * (2 * product + 2 * FLOAT) + FLOAT * config.vocab_size * config.d_model,
    )


def usable_memory(device: Device) -> float:
    """Bytes that an estimate may reach on a device."""
    return USABLE * device.total_memory()


def micro_batch_sizes(
    model: TransformerLM, sequences: int, moments: int, device: Device, shards: int = 1
) -> list[int]:
    """The divisors of a rank's `sequences` whose step may fit into the device's memory, the greatest first; 1 always.

    It depends on the memory that the device has, not on what is free just now, so that a run started again takes
    the same one.
    """
    is_tried = device.refuses_memory and shards == 1
    limit = USABLE_IF_TRIED * device.total_memory() if is_tried else usable_memory(device)

    def fits(size: int) -> bool:
        return estimate_memory(model, size, moments, device, shards).total <= limit

    return [size for size in range(sequences, 1, -1) if sequences % size == 0 and fits(size)] + [1]


def is_out_of_memory(error: BaseException) -> bool:
    """Whether PyTorch or Python could not get memory; CPUs and Apple's GPUs say so in a plain RuntimeError."""
    words = ("can't allocate memory", "out of memory", "STATUS_ALLOC_FAILED")
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or any(
        word in str(error) for word in words
    )


def out_of_memory(
    model: TransformerLM, micro_batch_size: int, moments: int, device: Device, shards: int = 1
) -> OutOfMemoryError:
    """The error for a step that did not fit: where the memory went and which key to change."""
    parts = estimate_memory(model, micro_batch_size, moments, device, shards)
    remedy = (
        f"set train.micro_batch_size below {micro_batch_size} (the batch and its result stay the same)"
        if micro_batch_size > 1
        else "share the model out over more devices (train.parallel: fsdp), or make model.context_length, "
        "model.d_model or tokenizer.vocab_size smaller"
    )
    return OutOfMemoryError(
        f"out of memory on {device.torch_device}, which has {device.total_memory() / 1e9:.1f} GB; a step needs about "
        f"{parts.total / 1e9:.2f} GB: {parts.describe()}; {remedy}"
    )
