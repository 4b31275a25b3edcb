"""Shared set-up: one thread for each test process (results then do not depend on the machine), seeded numbers."""

import os
from contextlib import nullcontext

import hypothesis
import pytest
import torch

from bittygpt.core.twins import formulas_alone

if not torch.cuda.is_available():
    # Triton's kernels run in its interpreter, on the CPU. It looks here when it is first imported, by whomever.
    os.environ.setdefault("TRITON_INTERPRET", "1")

hypothesis.settings.register_profile(
    "no clock", deadline=None
)  # a shared machine may stand still for a second
hypothesis.settings.load_profile("no clock")


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)


@pytest.fixture(params=["twins", "formulas"])
def both_forms(request):
    """The test runs once with the twins and once with the formulas alone."""
    with nullcontext() if request.param == "twins" else formulas_alone():
        yield
