"""Whether other programs are at work on the processors: then a step here waits for them, and so does its measurement.

A step's threads wait for one another at every operation, so one that has to share its processor holds up all.
"""

import math
import os
import time
from pathlib import Path

import torch

PROC_STAT = Path("/proc/stat")
IDLE = (3, 4)  # columns of its first line in which nobody works: idle, and waiting for a disk
NOTABLE = 0.3  # of a processor


def seconds_of_others() -> float:
    """Processor seconds that other programs have worked since the machine was started, give or take a constant.

    Where the system does not tell, it does not grow.
    """
    try:
        columns = [int(column) for column in PROC_STAT.read_text().splitlines()[0].split()[1:9]]
    except (OSError, ValueError, IndexError):
        return 0.0
    busy = sum(ticks for number, ticks in enumerate(columns) if number not in IDLE)
    return busy / os.sysconf("SC_CLK_TCK") - time.process_time() if columns else 0.0


def busy_note(others: float) -> str:
    """What to know if other programs kept so many processors busy; empty if there were enough for all."""
    processors = os.cpu_count() or 1
    if others < max(NOTABLE, processors - torch.get_num_threads() + NOTABLE):
        return ""
    left = max(1, math.floor(processors - others))
    return (
        f"other programs keep {others:.1f} of {processors} processors busy, which can slow a step many times over: "
        f"end them, or leave them theirs with OMP_NUM_THREADS={left}"
    )
