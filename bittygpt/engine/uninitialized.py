"""A model of which only the shape is needed: for plans, for memory, and to compare another model with."""

from typing import Any
from unittest.mock import patch

import torch
from torch import nn
from torch.overrides import TorchFunctionMode

from bittygpt.core import ModelConfig, TransformerLM


def uninitialized_model(config: ModelConfig, device: str = "meta") -> TransformerLM:
    """A model of which only the shape is needed: its weights are not drawn; on "meta" they take no memory."""
    with _WeightsOn(device), patch.object(nn.init, "trunc_normal_", lambda tensor, **_: tensor):
        model = TransformerLM(config)
    if device != "meta":
        for parameter in model.parameters():  # numbers that happened to lie there may be slow to compute with
            parameter.data.zero_()
    return model


class _WeightsOn(TorchFunctionMode):
    """Within it new weights are made on a device. What is computed (RoPE's tables) is not: to compute on "meta",
    PyTorch loads its compiler."""

    def __init__(self, device: str) -> None:
        super().__init__()
        self.device = device

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        changes = {"device": self.device} if func in (torch.empty, torch.ones) else {}
        return func(*args, **{**(kwargs or {}), **changes})
