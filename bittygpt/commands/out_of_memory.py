"""The message when memory runs out in `sample` or `export`: what took it, and what to change."""

from pathlib import Path

import torch

from bittygpt.core import ModelConfig
from bittygpt.errors import OutOfMemoryError
from bittygpt.sampling.decoding.kv_cache import bytes_per_row, common_capacity
from bittygpt.training.checkpoints.checkpoint import read_state
from bittygpt.training.devices.device import Device


def of_sampling(checkpoint: Path, device: Device, max_tokens: int) -> OutOfMemoryError:
    """The error of `sample`: the size of the weights and of each text's KV cache."""
    model = ModelConfig(**read_state(checkpoint)["model"])
    tokens = common_capacity(model, [], max_tokens)
    keys_and_values = bytes_per_row(model, tokens, torch.float32)
    return OutOfMemoryError(
        f"out of memory on {device.torch_device}, which has {device.total_memory() / 1e9:.1f} GB in all; the weights "
        f"take {_in_gb(_weights(checkpoint))}, and as much again arranged for generating; keys and values of "
        f"{tokens:,} tokens {_in_gb(keys_and_values)} for each text; lower --num-samples or --max-tokens, or try "
        "another --device"
    )


def of_export(checkpoint: Path) -> OutOfMemoryError:
    """The error of `export`, which has several copies of the weights at once."""
    return OutOfMemoryError(
        f"out of memory; the weights take {_in_gb(_weights(checkpoint))}, and an export holds them several times while "
        "it is compared with the model; --no-verify needs less and compares nothing; else it takes a larger machine"
    )


def _weights(checkpoint: Path) -> int:
    return (checkpoint / "model.safetensors").stat().st_size


def _in_gb(size: int) -> str:
    return f"{size / 1e9:.2f} GB"
