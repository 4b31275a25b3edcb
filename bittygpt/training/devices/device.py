"""What the model runs on: device, precision, and the peak that MFU is a share of."""

import contextlib
import os
import resource
import sys
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from bittygpt.errors import ConfigError
from bittygpt.training.devices.device_table import DataSheet, data_sheet_of


@dataclass(frozen=True)
class Device:
    """Where and how the model computes. `precision` is "fp32" or "bf16": that of the matrix products.

    `note` says why it is not the one that was asked for. `name`: of a device that is planned for and not here.
    """

    torch_device: torch.device
    precision: str
    memory: int | None = None  # bytes that may be counted on; None: what the device has
    note: str = ""
    name: str = ""

    @property
    def full_name(self) -> str:
        """As a person calls it: "cpu", or the name that the GPU has."""
        if self.name:
            return self.name
        return torch.cuda.get_device_name(self.torch_device) if self.is_cuda else self.torch_device.type

    @property
    def is_cuda(self) -> bool:
        """Whether it is an NVIDIA (or ROCm) GPU."""
        return self.torch_device.type == "cuda"

    @property
    def refuses_memory(self) -> bool:
        """Whether it says so when there is no memory left; the system of a CPU promises more than it has."""
        return self.is_cuda

    def autocast(self) -> contextlib.AbstractContextManager[object]:
        """Within it matrix products are done in bfloat16, if that is the precision; weights stay float32."""
        if self.precision == "fp32":
            return contextlib.nullcontext()
        return torch.autocast(self.torch_device.type, dtype=torch.bfloat16)

    def data_sheet(self) -> DataSheet | None:
        """What the maker says of it, None when the device is not in the table."""
        if not self.is_cuda:
            return None
        return data_sheet_of(self.full_name)

    def peak_flops(self) -> float | None:
        """FLOP/s of the data sheet for bf16, None for another precision or a device that is not in the table."""
        sheet = self.data_sheet() if self.precision == "bf16" else None
        return None if sheet is None else sheet.bf16

    def synchronize(self) -> None:
        """Wait until all that was started is done, so that a clock read next means something."""
        if self.is_cuda:
            torch.cuda.synchronize(self.torch_device)

    def tensor_of(self, numbers: Sequence[float]) -> Tensor:
        """Numbers (N,) float32 on the device, of whose work so far nothing is waited for."""
        return torch.tensor(numbers, pin_memory=self.is_cuda).to(self.torch_device, non_blocking=True)

    def peak_memory_gb(self) -> float:
        """The most memory held so far, in GB (1e9 bytes): the GPU's, or the process's on the CPU."""
        if self.is_cuda:
            return torch.cuda.max_memory_allocated(self.torch_device) / 1e9
        unit = 1 if sys.platform == "darwin" else 1024
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e9

    def total_memory(self) -> int:
        """Bytes of memory that the device has in all, or that may be counted on."""
        if self.memory is not None:
            return self.memory
        if self.is_cuda:
            return torch.cuda.get_device_properties(self.torch_device).total_memory
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def choose_device(name: str, precision: str, local_rank: int = 0) -> Device:
    """The device for `train.device` and the precision for `train.precision`.

    "auto" is the best device there is, and bf16 where that is CUDA and has it. A CPU computes in fp32 unless it is
    asked for bf16. bf16 becomes fp32 where the device has no instructions for it: there it is the slower of the two,
    and a config must run wherever it is carried.

    Raises:
        ConfigError: the device is not there.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    if name == "cuda" and not torch.cuda.is_available():
        raise ConfigError("train.device: cuda is asked for and PyTorch sees no GPU; set it to auto or cpu")
    if name == "mps" and not torch.backends.mps.is_available():
        raise ConfigError("train.device: mps is asked for and this is no Apple GPU; set it to auto or cpu")
    device = torch.device("cuda", local_rank) if name == "cuda" else torch.device(name)
    if name == "cuda":
        torch.cuda.set_device(device)
    if precision == "auto":
        precision = "bf16" if name == "cuda" and has_bf16(name) else "fp32"
    if precision == "bf16" and not has_bf16(name):
        return Device(device, "fp32", note="it has no instructions for bf16")
    return Device(device, precision)


def has_bf16(name: str) -> bool:
    """Whether a device multiplies matrices in bfloat16 by instructions of its own."""
    if name == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    # PyTorch 2.9 does not tell
    capabilities: dict[str, bool] = getattr(torch.cpu, "get_capabilities", dict)()
    return name == "cpu" and any(capabilities.get(key) for key in ("avx512_bf16", "amx_bf16"))
