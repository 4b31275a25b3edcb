"""Compiles cpu.c for this processor on first use, and loads it from the cache from then on.

It needs a C compiler, as PyTorch's own compiler and Triton do. Without one, training is slower, but goes on.
"""

import ctypes
import functools
import hashlib
import math
import os
import platform
import shlex
import shutil
import subprocess
import sys
import tempfile
import warnings
from contextlib import suppress
from itertools import takewhile
from pathlib import Path

import torch

from bittygpt.files import cache_folder

SOURCE = Path(__file__).with_name("cpu.c")
# Vectors as wide as the processor has them; square roots and divisions need not set errno or flags to be vectorised.
# A product and a sum become one instruction (-ffp-contract is the default for GNU C).
FLAGS = ["-std=gnu11", "-O3", "-march=native", "-fno-math-errno", "-fno-trapping-math", "-fopenmp"]
FLAGS += ["-shared", "-fPIC"]
DEFINITIONS: dict[torch.dtype, list[str]] = {torch.float32: [], torch.bfloat16: ["-DBFLOAT16"]}
TIME_LIMIT = 120  # seconds; it takes less than one
# what each of the kernels takes, and what those give that give something
NUMBER, ADDRESS, FLOAT = ctypes.c_int64, ctypes.c_void_p, ctypes.c_float
KERNELS: dict[str, tuple[type, ...]] = {
    "threads": (),
    "rms_norm": (NUMBER, NUMBER, ADDRESS, ADDRESS, FLOAT, ADDRESS, ADDRESS),
    "rms_norm_gradients": (NUMBER, NUMBER, *[ADDRESS] * 8),
    "rotate": (*[NUMBER] * 4, ADDRESS, ADDRESS, FLOAT, ADDRESS),
    "swiglu": (NUMBER, *[ADDRESS] * 3),
    "swiglu_gradients": (NUMBER, *[ADDRESS] * 5),
    "losses_and_gradients": (NUMBER, NUMBER, ADDRESS, ADDRESS, NUMBER, ctypes.c_int, ADDRESS),
    "sum_of_squares": (NUMBER, *[ADDRESS] * 3),
    "scale": (NUMBER, ADDRESS, ADDRESS, FLOAT),
    "adam": (NUMBER, *[ADDRESS] * 5, *[FLOAT] * 7),
}
RESULTS = {"threads": ctypes.c_int, "losses_and_gradients": NUMBER, "sum_of_squares": ctypes.c_double}


class CannotCompileError(Exception):
    """The reason why there is no library."""


def library(dtype: torch.dtype) -> ctypes.CDLL | None:
    """The kernels for products in a precision; None where there is no compiler, or no such precision.

    What a compiler cannot do or does wrong is warned of, once.
    """
    return _library(dtype) if dtype in DEFINITIONS else None


@functools.cache
def _library(dtype: torch.dtype) -> ctypes.CDLL | None:
    reason = ""
    for compiler in _compilers() if sys.platform == "linux" else []:
        try:
            found = _load([*compiler, *FLAGS, *DEFINITIONS[dtype]])
            for name, arguments in KERNELS.items():
                kernel = getattr(found, name)
                kernel.argtypes, kernel.restype = arguments, RESULTS.get(name)
            _try(found, dtype)
            return found
        except (CannotCompileError, OSError) as error:
            reason = reason or str(error)
    if reason:
        _warn(reason)
    return None


@functools.cache  # what is the matter with one precision is the matter with the other
def _warn(reason: str) -> None:
    warnings.warn(f"PyTorch's operations instead of compiled ones on the CPU: {reason}", stacklevel=4)


def _compilers() -> list[list[str]]:
    """The commands that are there: $CC, else cc and gcc. (cc may be clang, whose threads are not those of PyTorch.)"""
    named = shlex.split(os.environ.get("CC", ""))
    return [
        [path, *command[1:]]
        for command in ([named] if named else [["cc"], ["gcc"]])
        if (path := shutil.which(command[0]))
    ]


def _load(command: list[str]) -> ctypes.CDLL:
    """The library that a command makes: from the cache, or made first."""
    name = hashlib.sha256(SOURCE.read_bytes() + "\n".join([*command, *_machine(command[0])]).encode())
    file_name = f"{name.hexdigest()[:16]}.so"
    try:
        target = cache_folder() / "kernels" / file_name
        if target.exists():
            with suppress(OSError):  # a file that was cut off is made anew
                return ctypes.CDLL(str(target))
        target.parent.mkdir(parents=True, exist_ok=True)
        _compile(command, target)
        return ctypes.CDLL(str(target))
    except (OSError, RuntimeError, CannotCompileError):  # no home, or it is full, or closed to programs
        with tempfile.TemporaryDirectory(prefix="bittygpt-") as folder:
            _compile(command, Path(folder) / file_name)
            return ctypes.CDLL(str(Path(folder) / file_name))


def _machine(compiler: str) -> list[str]:
    """What the library depends on besides its source: compiler and processor, as several may share a home."""
    file = Path(compiler).resolve()
    fields = ("model name", "flags", "CPU part", "Features")  # the latter two on ARM
    with open("/proc/cpuinfo") as cpuinfo:
        # of the first core alone: with hundreds of them, reading all takes time at every start
        processor = [line for line in takewhile(str.strip, cpuinfo) if line.startswith(fields)]
    return [str(file), str(file.stat().st_mtime_ns), platform.machine(), *processor]


def _compile(command: list[str], target: Path) -> None:
    """Make the library; it has its name only when it is whole."""
    handle, temporary = tempfile.mkstemp(suffix=".so", dir=target.parent)
    os.close(handle)
    try:
        run = subprocess.run(
            [*command, str(SOURCE), "-o", temporary, "-lm"],
            capture_output=True,
            text=True,
            errors="replace",
            timeout=TIME_LIMIT,
            stdin=subprocess.DEVNULL,
        )
        if run.returncode:
            said = run.stderr.strip().splitlines() or ["it said nothing"]
            raise CannotCompileError(f"{command[0]} ended with {run.returncode}: {said[0]}")
        os.chmod(temporary, 0o755)  # others may share the folder
        with open(temporary, "rb") as file:
            os.fsync(file.fileno())
        os.replace(temporary, target)
    except subprocess.TimeoutExpired:
        raise CannotCompileError(f"{command[0]} took more than {TIME_LIMIT} seconds") from None
    finally:
        Path(temporary).unlink(missing_ok=True)


def _try(found: ctypes.CDLL, dtype: torch.dtype) -> None:
    """Raise CannotCompileError unless it uses PyTorch's threads, and has the loss of two equal logits right."""
    threads = torch.get_num_threads()
    own_threads = False
    for number in (threads + 1, threads + 2, threads):
        torch.set_num_threads(number)
        own_threads |= found.threads() != number
    if own_threads:  # they and PyTorch's would wait for each other
        raise CannotCompileError("its threads would not be those of PyTorch")
    logits = torch.zeros(1, 2, dtype=dtype, device="cpu")
    targets = torch.zeros(1, dtype=torch.int64, device="cpu")
    losses = torch.empty(1, dtype=torch.float32, device="cpu")
    found.losses_and_gradients(1, 2, logits.data_ptr(), targets.data_ptr(), -100, 1, losses.data_ptr())
    numbers, expected = [*losses.tolist(), *logits[0].tolist()], [math.log(2), -0.5, 0.5]
    if not all(math.isclose(x, y, rel_tol=1e-5) for x, y in zip(numbers, expected, strict=True)):
        raise CannotCompileError(f"loss and gradient came out as {numbers} instead of {expected}")
