"""Whether a fast path may compute: it asks about the program's state, about tensors, and about modules.

A fast path has no formula's generality. It reads weights without calling the modules that hold them, and hands
addresses to kernels. So it asks here first, and steps aside for the formula wherever the answer is no.
"""

import torch
from torch import Tensor, nn
from torch.autograd import forward_ad
from torch.nn.modules import module as torch_module

METHODS = frozenset(("forward", "attend", "angles", "table", "hidden_states", "logits", "loss"))
PLAIN_TYPES = frozenset((Tensor, nn.Parameter))


def runs_eagerly() -> bool:
    """Whether an operation is just computed: not compiled, traced, transformed by torch.func, or watched.

    A mode may watch, or a hook on all modules. Forward-mode derivatives are no part of a backward pass by hand, either.
    """
    return not (
        torch.compiler.is_compiling()
        or torch._C._len_torch_dispatch_stack()
        or torch._C._functorch.peek_interpreter_stack() is not None
        or forward_ad._current_level >= 0
        or torch._C._get_tracing_state() is not None
        or torch_module._has_any_global_hook()
    )


def is_plain(x: Tensor) -> bool:
    """Whether a tensor is just numbers in memory: not fake, meta, sparse, sharded, wrapped, or lazily negated."""
    return type(x) in PLAIN_TYPES and x.layout is torch.strided and not (x.is_meta or x.is_neg())


def are_plain(*tensors: Tensor) -> bool:
    """Whether all tensors are plain and on one device."""
    return all(is_plain(x) and x.device == tensors[0].device for x in tensors)


def is_intact(module: object, kind: type[nn.Module]) -> bool:
    """Whether a part can be computed without being called: of exactly that class, without hooks or parts of its own.

    A class with a fast path of its own says by `formula` what it stands in for.
    """
    found = type(module)
    if found is not kind and found.__dict__.get("formula") is not kind:
        return False
    state = module.__dict__
    return state.keys().isdisjoint(METHODS) and not (
        state["_forward_hooks"]
        or state["_forward_pre_hooks"]
        or state["_backward_hooks"]
        or state["_backward_pre_hooks"]
    )


def only_weight(module: object) -> Tensor | None:
    """The plain `weight` of a module that learns nothing else; None for any other module.

    Asked of the module's own dictionary, as its attributes take ten times as long.
    """
    parameters = module.__dict__["_parameters"]
    weight: Tensor | None = parameters.get("weight")
    return weight if len(parameters) == 1 and weight is not None and is_plain(weight) else None


def weight_of(module: object, kind: type[nn.Module]) -> Tensor | None:
    """The same for an intact module of a given class; None for any other."""
    return only_weight(module) if is_intact(module, kind) else None


def product_dtype(x: Tensor) -> torch.dtype:
    """The precision of matrix products: autocast's, or that of x."""
    kind = x.device.type
    return torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else x.dtype
