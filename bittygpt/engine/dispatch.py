"""Whether a fast path may compute: what it asks of the program's state, of tensors, and of modules.

A fast path has no formula's generality. It reads weights without calling the modules that hold them, and hands
addresses to kernels. So it asks here first, and steps aside for the formula wherever the answer is no.
"""

import torch
from torch import Tensor, nn
from torch.autograd import forward_ad
from torch.nn.modules import module as torch_module

HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
METHODS = frozenset(("forward", "attend", "angles", "table", "hidden_states", "logits", "loss", "__call__"))


def runs_eagerly() -> bool:
    """Whether an operation is just computed: not compiled, traced, transformed by torch.func, or watched by a mode.

    Forward-mode derivatives are no part of a backward pass by hand, either.
    """
    return not (
        torch.compiler.is_compiling()
        or torch._C._len_torch_dispatch_stack()
        or torch._C._functorch.peek_interpreter_stack() is not None
        or forward_ad._current_level >= 0
        or torch._C._get_tracing_state() is not None
    )


def is_plain(x: Tensor) -> bool:
    """Whether a tensor is just numbers in memory: not fake, meta, sparse, shared out, wrapped, or lazily negated."""
    return (
        (type(x) is nn.Parameter or type(x) is Tensor)
        and x.layout is torch.strided
        and not (x.is_meta or x.is_neg() or x.is_complex())
    )


def are_plain(*tensors: Tensor) -> bool:
    """Whether all are, and on one device."""
    return all(is_plain(x) and x.device == tensors[0].device for x in tensors)


def is_intact(module: object, kind: type[nn.Module]) -> bool:
    """Whether a part can be computed without being called: of exactly that class, without hooks or parts of its own.

    A class with a fast path of its own says by `formula` what it stands in for.
    """
    found = type(module)
    if found is not kind and found.__dict__.get("formula") is not kind:
        return False
    state = module.__dict__
    return METHODS.isdisjoint(state) and not any(state[hooks] for hooks in HOOKS)


def is_intact_matrix(module: object, kind: type[nn.Module]) -> bool:
    """Whether a part is intact, and has a plain `weight` and nothing else."""
    return is_intact(module, kind) and has_only_weight(module)


def has_only_weight(module: object) -> bool:
    """Whether a plain `weight` is all that a module learns."""
    parameters = module.__dict__["_parameters"]
    return len(parameters) == 1 and parameters.get("weight") is not None and is_plain(parameters["weight"])


def no_global_hooks() -> bool:
    """Whether there is no hook on all modules."""
    return not torch_module._has_any_global_hook()


def product_dtype(x: Tensor) -> torch.dtype:
    """The precision of matrix products: autocast's, or that of x."""
    kind = x.device.type
    return torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else x.dtype
