"""How much memory a training step takes, by part, and the largest micro-batch that fits."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

import torch
from torch import nn

from bittygpt.core import ModelConfig, TransformerLM
from bittygpt.engine.layers.language_model import PROOF
from bittygpt.engine.layers.loss import tokens_at_once
from bittygpt.errors import OutOfMemoryError
from bittygpt.training.devices.device import Device
from bittygpt.training.devices.saved_tensors import saved_bytes

# Share of the device's memory that an estimate may reach: the rest is for the allocator, kernels' workspaces and the
# estimate's error. Where a size is tried before it is taken, the estimate only has to leave out the hopeless.
USABLE, USABLE_IF_TRIED = 0.7, 1.0
FLOAT = 4
LOGITS_OF_FORMULA = 6  # how often they are held at its peak, with room for a term of the loss that was added
LAYERS_GATHERED = 3  # the one at work, the next one, and the buffer that it is received in


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


def num_trainable(model: nn.Module) -> int:
    """How many numbers of a model are not frozen."""
    return sum(p.numel() for p in model.parameters() if p.requires_grad)


def estimate_memory(
    model: TransformerLM,
    micro_batch_size: int,
    moments: float,
    device: Device,
    shards: int = 1,
    accumulates: bool = True,
) -> StepMemory:
    """What a step keeps: weights and what belongs to each, and per token what the backward pass will ask for.

    What autograd saves is weighed (`saved_tensors.py`), and once more what it saves of a layer stands for the gradients
    within the layer that the backward pass is at. `moments`: numbers that the optimizer keeps for each weight that is
    trained, on average. `shards`: over how many devices the weights are shared out; each gathers embedding and head,
    and one layer after another, the next one ahead of time. The gradients of several micro-batches (`accumulates`)
    stay whole until the last one's, when they are exchanged.
    """
    config = model.config
    tokens = micro_batch_size * config.context_length
    trained = FLOAT * num_trainable(model)
    weights = FLOAT * model.num_parameters()
    layer = FLOAT * sum(p.numel() for p in model.layers[0].parameters())
    gathered = 0
    if shards > 1:
        gathered = weights - max(0, len(model.layers) - LAYERS_GATHERED) * layer
    whole_gradients = trained if accumulates or shards == 1 else trained * gathered // weights
    saved = saved_bytes(config, device.precision)
    return StepMemory(
        weights=weights // shards + gathered,
        gradients=whole_gradients if shards == 1 else whole_gradients + trained // shards,
        moments=int(moments * trained) // shards,
        activations=saved.total(config.num_layers, tokens) + saved.layer_per_token * tokens,
        logits=_logits_memory(config, tokens, device),
    )


def _logits_memory(config: ModelConfig, tokens: int, device: Device) -> int:
    """Of the chunked loss: one chunk's logits, and the one's before until they are replaced; in bf16 a copy in float32
    besides. For the backward pass it keeps the last hidden states, their gradients and those of the weight. A loss that
    was changed holds all logits."""
    if not PROOF.holds():
        return LOGITS_OF_FORMULA * FLOAT * tokens * config.vocab_size
    product = 2 if device.precision == "bf16" else FLOAT
    chunk = tokens_at_once(tokens, config.vocab_size, device.torch_device)
    each = product * (2 if chunk < tokens else 1) + (FLOAT if product < FLOAT else 0)
    return chunk * config.vocab_size * each + config.d_model * (
        2 * product * tokens + FLOAT * config.vocab_size
    )


def usable_memory(device: Device) -> float:
    """Bytes that an estimate may reach on a device."""
    return USABLE * device.total_memory()


def micro_batch_sizes(
    model: TransformerLM, sequences: int, moments: float, device: Device, shards: int = 1
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


def exceeds_memory(model: TransformerLM, moments: float, device: Device) -> bool:
    """Whether weights, gradients and moments alone are more than the memory of a device that would not say so.

    A system promises more memory than it has, and kills a process that takes it at its word, with no time for a word.
    """
    numbers = model.num_parameters() + (1 + moments) * num_trainable(model)
    return not device.refuses_memory and FLOAT * numbers > device.total_memory()


def is_out_of_memory(error: BaseException) -> bool:
    """Whether PyTorch or Python could not get memory; CPUs and Apple's GPUs say so in a plain RuntimeError."""
    words = ("can't allocate memory", "out of memory", "STATUS_ALLOC_FAILED")
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or any(
        word in str(error) for word in words
    )


@contextmanager
def memory_explained(explain: Callable[[], OutOfMemoryError]) -> Iterator[None]:
    """Where PyTorch or Python gets no more memory within it, the error is the one that `explain` makes."""
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if is_out_of_memory(error):
            raise explain() from error
        raise


def out_of_memory(
    model: TransformerLM, micro_batch_size: int, moments: float, device: Device, shards: int = 1
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


def largest_that_fits(
    sizes: Sequence[int], try_it: Callable[[int], None], agree: Callable[[bool], bool]
) -> int:
    """The first of the sizes, ordered from the greatest, that `try_it` takes without running out of memory.

    `agree` tells whether it went well on all ranks, and all go on to the next size otherwise. The last size is taken
    untried: there is none after it.
    """
    for size in sizes[:-1]:
        if agree(fits_in_memory(partial(try_it, size))):
            return size
        torch.compiler.reset()  # compiled again for the next size, not for any size
    return sizes[-1]


def fits_in_memory(action: Callable[[], None]) -> bool:
    """Do it; False when memory ran out, with all given back that it took."""
    try:
        action()
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
    else:
        return True
    if torch.cuda.is_available():  # after the handler, as the error holds what its frames held
        torch.cuda.empty_cache()
    return False


def next_smaller(size: int, sequences: int) -> int | None:
    """The greatest divisor of `sequences` that is at most half of `size`; None when there is none."""
    return next((half for half in range(size // 2, 0, -1) if sequences % half == 0), None)
