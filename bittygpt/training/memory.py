"""How much memory a training step takes, by part, and the largest micro-batch that fits."""

from dataclasses import dataclass

import torch

from bittygpt.core import TransformerLM
from bittygpt.errors import OutOfMemoryError
from bittygpt.training.devices import Device

USABLE = (
    0.7  # of the device's memory: the rest is for the allocator, kernels' workspaces and the estimate's error
)
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


def estimate_memory(model: TransformerLM, micro_batch_size: int, moments: int, precision: str) -> StepMemory:
    """What a step keeps: weights and what belongs to each, and per token what the backward pass will ask for.

    Counted for each layer and token: the inputs of its products in the products' precision, and the float32 tensors
    that norms, RoPE, activation and residual sums hold. `moments`: numbers the optimizer keeps for each weight.
    """
    config = model.config
    tokens = micro_batch_size * config.context_length
    weights = FLOAT * model.num_parameters()
    product = 2 if precision == "bf16" else FLOAT
    per_layer = config.d_model * (6 * product + 10 * FLOAT) + config.feed_forward_width * (
        4 * product + FLOAT
    )
    return StepMemory(
        weights=weights,
        gradients=weights,
        moments=moments * weights,
        activations=tokens * (config.num_layers * per_layer + 4 * FLOAT * config.d_model),
        logits=tokens * config.vocab_size * (product + 3 * FLOAT),
    )


def largest_micro_batch(model: TransformerLM, sequences: int, moments: int, device: Device) -> int:
    """The greatest divisor of a rank's `sequences` whose step is estimated to fit into the device's memory; at least 1.

    It depends on the memory that the device has, not on what is free just now, so that a run started again takes
    the same one.
    """
    limit = USABLE * device.total_memory()
    for size in range(sequences, 1, -1):
        if sequences % size == 0 and estimate_memory(model, size, moments, device.precision).total <= limit:
            return size
    return 1


def is_out_of_memory(error: BaseException) -> bool:
    """Whether PyTorch or Python could not get memory; the CPU's allocator says so in a plain RuntimeError."""
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or "can't allocate memory" in str(error)


def out_of_memory(
    model: TransformerLM, micro_batch_size: int, moments: int, device: Device
) -> OutOfMemoryError:
    """The error for a step that did not fit: where the memory went and which key to change."""
    parts = estimate_memory(model, micro_batch_size, moments, device.precision)
    remedy = (
        f"set train.micro_batch_size below {micro_batch_size} (the batch and its result stay the same)"
        if micro_batch_size > 1
        else "make model.context_length, model.d_model or tokenizer.vocab_size smaller"
    )
    return OutOfMemoryError(
        f"out of memory on {device.torch_device}, which has {device.total_memory() / 1e9:.1f} GB; a step needs about "
        f"{parts.total / 1e9:.2f} GB: {parts.describe()}; {remedy}"
    )
