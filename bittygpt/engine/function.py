"""A function with its backward pass by hand, and the formula to which it goes back where that is not enough."""

from typing import Any

import torch
from torch import Tensor

from bittygpt.engine.dispatch import is_plain, runs_eagerly


class FusedFunction(torch.autograd.Function):
    """What stands in for a formula: `forward`, which saves its inputs first of all, and `gradients` by hand.

    Where a gradient is itself to be differentiated, or comes in a batch (`is_grads_batched`) or in an odd kind of
    tensor, autograd differentiates `formula` instead.
    """

    @staticmethod
    def formula(*inputs: Any) -> Any:
        """What it stands in for, of the same inputs."""
        raise NotImplementedError

    @staticmethod
    def gradients(ctx: Any, *grads: Tensor) -> Any:
        """The backward pass, by hand."""
        raise NotImplementedError

    @staticmethod
    def save(ctx: Any, inputs: tuple[Any, ...], *intermediates: Tensor | None) -> None:
        """Keep the inputs, tensors and others, and what else `gradients` wants, which `saved` gives back."""
        tensors = [x for x in inputs if isinstance(x, Tensor)]
        ctx.constants = [None if isinstance(x, Tensor) else (x,) for x in inputs]
        ctx.num_tensors = len(tensors)
        ctx.save_for_backward(*tensors, *intermediates)

    @staticmethod
    def inputs(ctx: Any) -> tuple[Any, ...]:
        """What was saved as inputs."""
        tensors = iter(ctx.saved_tensors)
        return tuple(next(tensors) if constant is None else constant[0] for constant in ctx.constants)

    @staticmethod
    def saved(ctx: Any) -> tuple[Tensor, ...]:
        """The intermediates."""
        return ctx.saved_tensors[ctx.num_tensors :]

    def __init_subclass__(cls) -> None:
        def backward(ctx: Any, *grads: Tensor) -> Any:
            by_hand = torch.compiler.is_compiling() or (
                not torch.is_grad_enabled() and runs_eagerly() and all(map(is_plain, grads))
            )
            return cls.gradients(ctx, *grads) if by_hand else _gradients_of_formula(ctx, cls.formula, grads)

        cls.backward = staticmethod(backward)  # type: ignore[method-assign]


def _gradients_of_formula(ctx: Any, formula: Any, grads: tuple[Tensor, ...]) -> tuple[Tensor | None, ...]:
    """By autograd, so that they can be differentiated again."""
    twice = torch.is_grad_enabled()
    with torch.enable_grad():
        # aliases: the way from one input to another, outside of the formula, is not to be counted
        inputs = [x.view_as(x) if isinstance(x, Tensor) else x for x in FusedFunction.inputs(ctx)]
        outputs = formula(*inputs)
    wanted = [x for x, needed in zip(inputs, ctx.needs_input_grad, strict=True) if needed]
    found = iter(torch.autograd.grad(outputs, wanted, grads, create_graph=twice, allow_unused=True))
    return tuple(next(found) if needed else None for needed in ctx.needs_input_grad)
