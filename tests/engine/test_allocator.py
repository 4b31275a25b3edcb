"""Memory that was freed is there for the next step without asking the system, and in large pages."""

import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest

FAULTS = """
import resource, sys, torch
from bittygpt.engine.allocator import keep_freed_memory
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


LARGE_PAGES = """
import sys, torch
from pathlib import Path
from bittygpt.engine.allocator import keep_freed_memory
if sys.argv[1] == "keep":
    keep_freed_memory()
tensors = [torch.ones(1 << 20) for _ in range(50)]  # 200 MB in blocks of 4
lines = Path("/proc/self/smaps_rollup").read_text().splitlines()
print(next(line.split()[1] for line in lines if line.startswith("AnonHugePages")))
"""


def hands_out_large_pages() -> bool:
    """Whether the system gives large pages to who asks, and to no one else."""
    setting = Path("/sys/kernel/mm/transparent_hugepage/enabled")
    return setting.exists() and "[madvise]" in setting.read_text()


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="a setting of glibc's")
@pytest.mark.skipif(not hands_out_large_pages(), reason="a setting of the system's")
def test_memory_lies_in_large_pages() -> None:
    kilobytes = {}
    for how in ("keep", "do not"):
        command = [sys.executable, "-c", LARGE_PAGES, how]
        kilobytes[how] = int(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    assert kilobytes["keep"] > 100_000 > 50_000 > kilobytes["do not"]
