"""The compiled model against the eager one: `torch.compile` writes the code anew."""

import os
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from unittest.mock import patch

import torch

from bittygpt.checks.finding import (
    MODEL,
    Finding,
    NotChecked,
    along_a_direction,
    check,
    equal,
    function_of,
    paired,
    value_and_gradients,
)
from bittygpt.checks.subject import Subject
from bittygpt.core import IGNORE_INDEX
from bittygpt.engine.accelerate import accelerate, prepare_for_compile


@check("compiled equals eager", look_in="engine/accelerate.py", always=True)
def compiled_equals_eager(subject: Subject) -> Finding:
    """One layer, by the compiler where the run will be compiled; else as the compiler traces it, which is much quicker.

    What tracing gets wrong is our code's doing; what the generated code then gets wrong is PyTorch's.
    """
    whole = subject.will_be_compiled
    if whole and (reason := _what_is_missing(subject)):
        raise NotChecked(reason)
    model, ids, targets = subject.model(lively=True, num_layers=1), subject.ids(2), subject.ids(2)
    targets[0, 5:9] = IGNORE_INDEX
    right = value_and_gradients(function_of(model, (), (ids, targets)), dict(model.named_parameters()))
    accelerate(model)
    prepare_for_compile(model)
    with _quietly_leaving_nothing():
        compiled = torch.compile(model, backend="inductor" if whole else "aot_eager")
        value = compiled(ids, targets_BT=targets)
        along_a_direction(value).backward()
    found = {
        f"gradient of {name}": torch.zeros_like(weight) if weight.grad is None else weight.grad
        for name, weight in model.named_parameters()
    }
    finding = equal(paired({"value": value.detach(), **found}, right), MODEL)
    how = "" if whole else "; traced only, as the run is not compiled here"
    return Finding(finding.text + how, finding.value, finding.limit)


def _what_is_missing(subject: Subject) -> str:
    """Why the compiler cannot be used here; empty if it can."""
    if subject.device.is_cuda:
        from torch.utils._triton import has_triton

        return "" if has_triton() else "torch.compile needs Triton on this GPU"
    from torch._inductor.cpp_builder import get_cpp_compiler

    try:
        get_cpp_compiler()
    except Exception as error:
        return f"torch.compile needs a C++ compiler: {str(error).splitlines()[0]}"
    return ""


@contextmanager
def _quietly_leaving_nothing() -> Iterator[None]:
    """What the compiler writes goes to a folder that goes with it; and it starts no processes of its own."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # those of the compiler about itself
        folders = dict.fromkeys(("TORCHINDUCTOR_CACHE_DIR", "TRITON_CACHE_DIR"), folder)
        with patch.dict(os.environ, folders, TORCHINDUCTOR_COMPILE_THREADS="1"):
            try:
                yield
            finally:
                torch.compiler.reset()
