"""A formula and its fast path, of the same weights, and what both make of the same inputs."""

import copy
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from bittygpt.core import ModelConfig, TransformerLM
from bittygpt.engine.accelerate import accelerate

VOCABULARY, LENGTH = 23, 8


def with_gains(module: nn.Module) -> nn.Module:
    """Gains that are not 1, so that one left out shows."""
    for p in module.parameters():
        if p.ndim == 1:
            p.data.normal_(1, 0.3)
    return module


def a_model(**changes: Any) -> TransformerLM:
    """A small model of core, the formula."""
    settings = {"num_layers": 2, "num_heads": 4, "num_kv_heads": 2, "d_ff": 24, "qk_norm": True} | changes
    model = TransformerLM(ModelConfig(VOCABULARY, LENGTH, 16, **settings))
    with_gains(model)
    return model


def fast_copy(module: nn.Module) -> nn.Module:
    """The same with its fast paths."""
    return accelerate(copy.deepcopy(module))


def a_batch(length: int = LENGTH) -> tuple[Tensor, Tensor]:
    """ids and targets, one of which is ignored."""
    ids, targets = torch.randint(0, VOCABULARY, (2, 2, length), generator=torch.Generator().manual_seed(3))
    targets[0, 1] = -100
    return ids, targets


def value_and_gradients(
    compute: Callable[..., Tensor | tuple[Tensor, ...]], inputs: Sequence[Any], others: Sequence[Tensor] = ()
) -> list[Tensor | None]:
    """What comes out, and the gradients of a weighted sum of it with respect to those that want one."""
    outputs = compute(*inputs)
    outputs = (outputs,) if isinstance(outputs, Tensor) else outputs
    generator = torch.Generator().manual_seed(1)
    total = sum((y.double() * torch.randn(y.shape, generator=generator).double()).sum() for y in outputs)
    wanted = [x for x in (*inputs, *others) if isinstance(x, Tensor) and x.requires_grad]
    found = torch.autograd.grad(total, wanted, allow_unused=True) if wanted else ()
    return [*(y.detach() for y in outputs), *found]


def of_model(model: nn.Module, *batch: Any, **options: Any) -> list[Tensor | None]:
    """What a model makes of a batch, and the gradients of its weights."""
    return value_and_gradients(
        lambda *_: model(*batch, **options), [p for p in model.parameters() if p.requires_grad]
    )


def assert_same(found: Any, expected: Any, rtol: float = 5e-5, atol: float = 2e-6) -> None:
    """Equal but for the rounding of float32, as a share of a tensor's largest entry; and None where the other is."""
    for number, (mine, theirs) in enumerate(zip(found, expected, strict=True)):
        assert (mine is None) == (theirs is None), number
        if mine is not None:
            assert (mine.shape, mine.dtype) == (theirs.shape, theirs.dtype), number
            scale = theirs.detach().abs().max().item() if theirs.numel() else 0.0
            torch.testing.assert_close(mine, theirs, rtol=0, atol=rtol * scale + atol)
