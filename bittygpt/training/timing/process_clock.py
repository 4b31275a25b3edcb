"""Seconds since this process began: what a rented machine is paid for, imports and compilation included."""

import os
import time
from pathlib import Path

_imported_at = time.perf_counter()


def _age_at_import() -> float:
    """How old the process is now.

    Linux says when it began. Elsewhere, and where that cannot be (a container with a clock of its own), the time that
    it has computed is nearly as much: all that it did until now was to import.
    """
    computed = time.process_time()
    try:
        after_name = Path("/proc/self/stat").read_text("ascii", "replace").rpartition(")")[2].split()
        began = int(after_name[19]) / os.sysconf("SC_CLK_TCK")  # field 22, man proc_pid_stat
        age = time.clock_gettime(time.CLOCK_BOOTTIME) - began
    except (OSError, ValueError, IndexError, AttributeError):
        return computed
    return age if 0 < age < 86400 else computed


_began = _imported_at - _age_at_import()


def process_age() -> float:
    """Seconds since this process began."""
    return time.perf_counter() - _began
