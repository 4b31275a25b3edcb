"""An autograd function with a hand-written backward pass, which falls back on autograd of its formula."""

from typing import Any

import torch
from torch import Tensor

from bittygpt.engine.dispatch import is_plain, runs_eagerly


class FusedFunction(torch.autograd.Function):
    """An autograd function that replaces a formula: `forward`, which first saves its inputs, and `gradients`.

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
        """Keep the inputs, tensors and others, and what else `gradients` wants. `saved` gives both back."""
        tensors = [x for x in inputs if isinstance(x, Tensor)]
        ctx.constants = [None if isinstance(x, Tensor) else (x,) for x in inputs]
        ctx.save_for_backward(*tensors, *intermediates)

    @staticmethod
    def saved(ctx: Any) -> tuple[tuple[Any, ...], tuple[Tensor, ...]]:
        """The inputs, and the rest; to be asked once, as checkpointing computes them anew and then drops them."""
        tensors = iter(ctx.saved_tensors)
        inputs = tuple(next(tensors) if constant is None else constant[0] for constant in ctx.constants)
        return inputs, tuple(tensors)

    def __init_subclass__(cls) -> None:
        def backward(ctx: Any, *grads: Tensor) -> Any:
            if torch.compiler.is_compiling() or by_hand_suffices(grads):
                return cls.gradients(ctx, *grads)
            return _gradients_of_formula(ctx, cls.formula, grads)

        cls.backward = staticmethod(backward)  # type: ignore[method-assign]


def by_hand_suffices(grads: tuple[Tensor, ...]) -> bool:
    """Whether the hand-written backward pass is enough: no second derivatives, plain and unbatched gradients."""
    if torch.is_grad_enabled() or not runs_eagerly():
        return False
    is_batched = torch._C._functorch.is_legacy_batchedtensor  # as `is_grads_batched` has it
    return all([is_plain(grad) and not is_batched(grad) for grad in grads])


def _gradients_of_formula(ctx: Any, formula: Any, grads: tuple[Tensor, ...]) -> tuple[Tensor | None, ...]:
    """By autograd, so that they can be differentiated again."""
    twice = torch.is_grad_enabled()
    with torch.enable_grad():
        # aliases: the way from one input to another, outside of the formula, is not to be counted
        inputs = [x.view_as(x) if isinstance(x, Tensor) else x for x in FusedFunction.saved(ctx)[0]]
        outputs = formula(*inputs)
    wanted = {
        number: x for number, x in enumerate(inputs) if ctx.needs_input_grad[number] and isinstance(x, Tensor)
    }
    found = torch.autograd.grad(outputs, [*wanted.values()], grads, create_graph=twice, allow_unused=True)
    return tuple(map(dict(zip(wanted, found, strict=True)).get, range(len(inputs))))
