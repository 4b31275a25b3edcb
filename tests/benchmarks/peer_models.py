"""The peers of `make bench`: each its own model and optimizers, from a checkout of its own, set as it sets them itself.

They are imported from the folder that `--peers` names, and their training steps are made here out of their own parts,
in the order of their own training loops. Nothing of them is in this repository.
"""

import sys
from pathlib import Path

import torch
from contenders import GRAD_CLIP, LEARNING_RATE, Contender, random_batch
from shapes import NANOGPT, Shape

from bittygpt.training.devices.device import Device


def peer(shape: Shape, device: Device, name: str, folder: Path) -> Contender:
    """The peer of that name, checked out in `folder`/`name`."""
    sys.path.insert(0, str(folder / name))
    return (nanogpt if name == NANOGPT else nanochat)(shape, device)


def nanogpt(shape: Shape, device: Device) -> Contender:
    """nanoGPT: no dropout, no biases, fused attention, fused AdamW on CUDA; compiled there, and not on a CPU."""
    from model import GPT, GPTConfig

    torch.backends.cuda.matmul.allow_tf32 = True
    torch.backends.cudnn.allow_tf32 = True
    model = GPT(
        GPTConfig(
            block_size=shape.context,
            vocab_size=shape.vocabulary,
            n_layer=shape.layers,
            n_head=shape.heads,
            n_embd=shape.width,
            dropout=0.0,
            bias=False,
        )
    ).to(device.torch_device)
    optimizer = model.configure_optimizers(0.1, LEARNING_RATE, (0.9, 0.95), device.torch_device.type)
    trained = torch.compile(model) if device.is_cuda else model
    batch = random_batch(shape)
    ids, targets = batch.ids.to(device.torch_device), batch.targets.to(device.torch_device)

    def forward() -> torch.Tensor:
        with device.autocast():
            return trained(ids, targets)[1]

    def clip() -> None:
        torch.nn.utils.clip_grad_norm_(model.parameters(), GRAD_CLIP)

    def whole_step() -> None:
        forward().backward()
        clip()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    attention = 12 * shape.layers * shape.width * shape.context
    return Contender(
        model,
        [optimizer],
        6 * model.get_num_params() + attention,
        forward,
        lambda loss: loss.backward(),
        clip,
        optimizer.step,
        whole_step,
    )


def nanochat(shape: Shape, device: Device) -> Contender:
    """nanochat: its model and its Muon with AdamW, both compiled on every device; it clips nothing.

    Every layer sees the whole context: that is what it asks for itself where FlashAttention 3 is not installed. It
    has more parameters than the others, as its embeddings are not tied and every second layer has a table of its own.
    """
    from nanochat.gpt import GPT, GPTConfig

    with torch.device("meta"):
        model = GPT(
            GPTConfig(
                sequence_len=shape.context,
                vocab_size=shape.vocabulary,
                n_layer=shape.layers,
                n_head=shape.heads,
                n_kv_head=shape.heads,
                n_embd=shape.width,
                window_pattern="L",
            )
        )
    model.to_empty(device=device.torch_device)
    model.init_weights()
    optimizer = model.setup_optimizer()
    trained = torch.compile(model, dynamic=False)
    batch = random_batch(shape)
    ids, targets = batch.ids.to(device.torch_device), batch.targets.to(device.torch_device)

    def whole_step() -> None:
        trained(ids, targets).backward()
        optimizer.step()
        model.zero_grad(set_to_none=True)

    return Contender(
        model,
        [optimizer],
        model.estimate_flops(),
        lambda: trained(ids, targets),
        lambda loss: loss.backward(),
        lambda: None,
        optimizer.step,
        whole_step,
    )
