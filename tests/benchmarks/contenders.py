"""What `make bench` measures: a model, its optimizers and a fixed batch, and the parts of its training step. Ours here.

`peer_models.py` builds the others.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import SimpleNamespace

import torch
from shapes import FULL_LOGITS, OURS_MUON, Shape
from torch import Tensor, nn
from torch.optim import Optimizer

from bittygpt.core import ModelConfig, TransformerLM
from bittygpt.data.batches import Batch
from bittygpt.engine.accelerate import accelerate, prepare_for_compile
from bittygpt.engine.allocator import keep_freed_memory
from bittygpt.engine.cuda_graphs import CudaGraphs
from bittygpt.engine.layers.language_model import FusedTransformerLM
from bittygpt.engine.optimizers.grad_clip import clip_grad_norm
from bittygpt.training.devices.device import Device
from bittygpt.training.distributed.ranks import Ranks
from bittygpt.training.optimizers import build_optimizers
from bittygpt.training.step import compute_gradients, micro_batch_loss, update_weights

GRAD_CLIP, LEARNING_RATE = 1.0, 1e-4


@dataclass
class Contender:
    """A training step as a whole, as its owner's training loop makes it, and in parts.

    `update` is the optimizers' work, `clip` may do nothing. Between parts the benchmark empties the device's queue;
    within `whole_step` nothing does but what the loop itself waits for.
    """

    model: nn.Module
    optimizers: Sequence[Optimizer]
    flops_per_token: float
    forward: Callable[[], Tensor]
    backward: Callable[[Tensor], object]
    clip: Callable[[], object]
    update: Callable[[], object]
    whole_step: Callable[[], object]
    forget: Callable[[], object] = lambda: None  # what was captured of a step; the next one does it again

    @property
    def parameters(self) -> int:
        """How many numbers are learned; a tied matrix counts once."""
        return sum(p.numel() for p in self.model.parameters())

    def clear(self) -> None:
        """Drop the gradients."""
        for parameter in self.model.parameters():
            parameter.grad = None

    def state_bytes(self) -> int:
        """Weights, as many bytes of gradients, and what the optimizers keep: the memory that no trick spares."""
        weights = sum(p.nbytes for p in self.model.parameters())
        kept = (
            value
            for optimizer in self.optimizers
            for state in optimizer.state.values()
            for value in state.values()
        )
        return 2 * weights + sum(value.nbytes for value in kept if isinstance(value, Tensor))


def random_batch(shape: Shape) -> Batch:
    """Random tokens, on the CPU: the same for everyone who is asked to train this shape."""
    torch.manual_seed(0)
    ids = torch.randint(0, shape.vocabulary, (shape.batch, shape.context + 1))
    return Batch(ids[:, :-1].contiguous(), ids[:, 1:].contiguous())


def ours(shape: Shape, device: Device, name: str) -> Contender:
    """bittygpt's model, optimizers and step; on CUDA compiled and, as a whole, captured, as `train` does it."""
    if not device.is_cuda:
        keep_freed_memory()  # as `train` does
    if name == FULL_LOGITS:
        FusedTransformerLM.loss = TransformerLM.loss
    batch = random_batch(shape)
    if device.is_cuda:  # as `train` has it
        batch = Batch(batch.ids.pin_memory(), batch.targets.pin_memory())
    on_device = Batch(batch.ids.to(device.torch_device), batch.targets.to(device.torch_device))
    sizes = (shape.vocabulary, shape.context, shape.width, shape.layers, shape.heads)
    config = ModelConfig(*sizes, d_ff=shape.feed_forward, tie_embeddings=True)
    model = accelerate(TransformerLM(config)).to(device.torch_device)
    prepare_for_compile(model)
    trained: nn.Module = torch.compile(model) if device.is_cuda else model
    settings = SimpleNamespace(
        name="muon" if name == OURS_MUON else "adamw",
        lr=LEARNING_RATE,
        betas=(0.9, 0.95),
        eps=1e-8,
        weight_decay=0.1,
    )
    optimizers = build_optimizers(model, settings, device.precision)

    def loss(ids: Tensor, targets: Tensor) -> Tensor:
        return micro_batch_loss(trained, Batch(ids, targets), device)

    graphs = CudaGraphs(trained, loss, optimizers, shape.batch)
    if not device.is_cuda:
        graphs.end()

    def whole_step() -> None:
        compute_gradients(
            trained,
            batch,
            grad_clip=GRAD_CLIP,
            micro_batch_size=shape.batch,
            device=device,
            ranks=Ranks(),
            captured=graphs.passes,
        )
        update_weights(optimizers, LEARNING_RATE, graphs.update)

    return Contender(
        model,
        optimizers,
        model.flops_per_token(),
        forward=lambda: micro_batch_loss(trained, on_device, device) / shape.tokens,
        backward=lambda loss: loss.backward(),
        clip=lambda: clip_grad_norm(model.parameters(), GRAD_CLIP),
        update=lambda: update_weights(optimizers, LEARNING_RATE),
        whole_step=whole_step,
        forget=graphs.forget,
    )
