"""Shared set-up: one thread for each test process (results then do not depend on the machine), seeded numbers."""

import os
from collections import Counter
from contextlib import nullcontext

import hypothesis
import pytest
import torch

from bittygpt.engine.kernels.cpu import without_c

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


@pytest.fixture(params=["with C", "without C"])
def with_and_without_c(request):
    """The test runs once with the kernels of cpu.c, once with PyTorch's operations."""
    with without_c() if request.param == "without C" else nullcontext():
        yield


def pytest_terminal_summary(terminalreporter):
    """How long the tests of each folder took, set-up and all."""
    seconds = Counter()
    for reports in terminalreporter.stats.values():
        for report in reports:
            if hasattr(report, "duration"):
                seconds[report.nodeid.split("::")[0].rpartition("/")[0]] += report.duration
    if len(seconds) > 1:
        terminalreporter.section("seconds by folder")
        for folder, took in seconds.most_common():
            terminalreporter.write_line(f"{took:7.1f}  {folder}")
