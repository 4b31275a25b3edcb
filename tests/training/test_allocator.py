"""Memory that was freed is there for the next step without asking the system."""

import os
import platform
import subprocess
import sys

import pytest

FAULTS = """
import resource, sys, torch
from bittygpt.training.allocator import keep_freed_memory
if sys.argv[1] == "keep":
    keep_freed_memory()
def step():
    tensors = [torch.ones(1 << 18) for _ in range(40)]  # 40 MB, dropped together
for _ in range(3):
    step()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(5):
    step()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def faults(how: str) -> int:
    """Pages that the system had to hand out in five steps, when glibc is told to give everything back."""
    environment = os.environ | {"MALLOC_MMAP_THRESHOLD_": "131072", "MALLOC_TRIM_THRESHOLD_": "131072"}
    command = [sys.executable, "-c", FAULTS, how]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    return int(done.stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="a setting of glibc's")
def test_pages_are_not_asked_for_again() -> None:
    assert faults("keep") < 500 < 5000 < faults("do not")
