"""One contender of `make bench`, in a process of its own: its peak of memory is then its own, and no other's.

    python tests/benchmarks/worker.py '{"contender": …, "shape": {…}, "device": …, "peers": …}'

Answers in lines of JSON. The first comes when all is built and warm; then one for each line that is read: `turn` (time
some steps, or with `turn N` the matrix rate with N threads), `end` (the memory that they took, and where the time goes,
by the profiler). `{"error": …}` is the last.
"""

import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import torch
import torch._dynamo  # PyTorch's optimizers import it; here it counts as an import, not as memory of training
from contenders import Contender, ours
from peer_models import peer
from shapes import MATRIX_RATE, NANOCHAT, NANOGPT, OURS_BF16, WITHOUT_C, Shape
from torch.autograd import DeviceType

from bittygpt.engine.cuda_graphs import CAPTURED
from bittygpt.training.devices.device import Device, choose_device, has_bf16

# A product by any of its names in PyTorch. Fused attention holds two products and a softmax: it is counted apart.
NAMES = ("mm", "addmm", "addmm_", "bmm", "baddbmm", "baddbmm_", "_addmm_activation", "mv")
PRODUCTS = {f"aten::{name}" for name in NAMES}
# The same on CUDA, where a captured step has kernels and no operations: by the names that its libraries give them.
PRODUCT_KERNELS, ATTENTION_KERNELS = (
    ("gemm", "nvjet", "cutlass", "xmma", "cublas"),
    ("flash", "fmha", "cudnn", "attention"),
)
PRODUCT, ATTENTION = "product", "attention"
WARM_UP, PROFILES = 3, 7


def timed(work: Callable[[], object], device: Device) -> float:
    """Milliseconds that a piece of work takes, the device's queue emptied before and after."""
    device.synchronize()
    start = time.perf_counter()
    work()
    device.synchronize()
    return 1e3 * (time.perf_counter() - start)


def peak_memory(device: Device) -> int:
    """The most bytes held so far: those of PyTorch's tensors on CUDA, the whole process's on a CPU.

    Linux hands a process's `ru_maxrss` on to the program that it starts; VmHWM begins anew with the program.
    """
    status = Path("/proc/self/status")
    if device.is_cuda or not status.exists():
        return round(1e9 * device.peak_memory_gb())
    line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
    return 1024 * int(line.split()[1])


class MatrixRate:
    """FLOP/s of one large square product, in the precision that the steps use."""

    def __init__(self, device: Device) -> None:
        self.device, self.size = device, 8192 if device.is_cuda else 1024
        dtype = torch.bfloat16 if device.precision == "bf16" else torch.float32
        self.matrices = torch.randn(2, self.size, self.size, device=device.torch_device, dtype=dtype)

    def ready(self) -> dict[str, object]:
        """What this machine is."""
        name = torch.cuda.get_device_name() if self.device.is_cuda else f"{torch.get_num_threads()} threads"
        kind = self.device.torch_device.type
        return {
            "device": kind,
            "machine": name,
            "precision": self.device.precision,
            "has_bf16": has_bf16(kind),
            "torch": torch.__version__,
        }

    def turn(self, threads: str = "") -> dict[str, object]:
        """The median of ten, after five that warm up."""
        if threads:
            torch.set_num_threads(int(threads))
        a, b = self.matrices
        timed(lambda: [a @ b for _ in range(5)], self.device)
        milliseconds = median(timed(lambda: a @ b, self.device) for _ in range(10))
        return {"rate": 2 * self.size**3 / (milliseconds / 1e3)}


class Training:
    """Steps of a contender."""

    def __init__(self, name: str, shape: Shape, device: Device, peers: Path) -> None:
        self.shape, self.device = shape, device
        self.before = peak_memory(device)
        is_peer = name in (NANOGPT, NANOCHAT)
        if name == WITHOUT_C:
            os.environ["CC"] = "none"  # as its users would
        if name == OURS_BF16:
            self.device = device = choose_device(device.torch_device.type, "bf16")
        self.contender = peer(shape, device, name, peers) if is_peer else ours(shape, device, name)
        for _ in range(min(WARM_UP, 1 + shape.steps)):
            self.contender.whole_step()
        if device.is_cuda:
            self.contender.forget()
            self.make_room()
            torch.cuda.reset_peak_memory_stats()  # without what compiling took, but with what recording takes
            for _ in range(CAPTURED):
                self.contender.whole_step()
        self.make_room()

    def ready(self) -> dict[str, object]:
        """What is trained."""
        return {
            "parameters": self.contender.parameters,
            "flops_per_token": self.contender.flops_per_token,
            "before_model_bytes": self.before,
            "state_bytes": self.contender.state_bytes(),
        }

    def turn(self) -> dict[str, object]:
        """Milliseconds of a step: whole, of several on end; and by parts, the medians of as many."""
        if self.device.is_cuda:  # it gave its memory back, and takes it again
            self.contender.whole_step()
        whole = timed(lambda: [self.contender.whole_step() for _ in range(self.shape.steps)], self.device)
        parts = [step_by_parts(self.contender, self.device) for _ in range(self.shape.steps)]
        self.make_room()
        return {
            "step_ms": whole / self.shape.steps,
            **{part: median(each[part] for each in parts) for part in parts[0]},
        }

    def make_room(self) -> None:
        """Give back what no tensor holds, for whoever is next."""
        if self.device.is_cuda:
            torch.cuda.empty_cache()

    def end(self) -> dict[str, object]:
        """Memory first: the profiler takes some itself."""
        memory = peak_memory(self.device)
        # on a CPU the machine's speed changes from one second to the next: of several profiles the middle one
        rounds = 1 if self.device.is_cuda or self.shape.steps == 1 else PROFILES
        profiles = [profiled(self.contender, self.device, min(10, self.shape.steps)) for _ in range(rounds)]
        profiles.sort(key=lambda found: found["products_ms"] / found["profiled_beside_ms"])
        return {"peak_bytes": memory, **profiles[rounds // 2]}


def step_by_parts(contender: Contender, device: Device) -> dict[str, float]:
    """Milliseconds of each part of one step."""
    contender.clear()
    losses: list[torch.Tensor] = []
    return {
        "forward_ms": timed(lambda: losses.append(contender.forward()), device),
        "backward_ms": timed(lambda: contender.backward(losses.pop()), device),
        "clip_ms": timed(contender.clip, device),
        "optimizer_ms": timed(contender.update, device),
    }


def profiled(contender: Contender, device: Device, steps: int) -> dict[str, float]:
    """Milliseconds that a step spends in matrix products, and in fused attention, by the profiler's account.

    `profiled_beside_ms` is a step right before and after, without the profiler, which slows small operations more than
    large ones.
    """
    activities = [torch.profiler.ProfilerActivity.CPU]
    if device.is_cuda:
        activities.append(torch.profiler.ProfilerActivity.CUDA)

    def some_steps() -> None:
        for _ in range(steps):
            contender.whole_step()

    touch_memory()
    before = timed(some_steps, device)
    with torch.profiler.profile(activities=activities) as profile:
        under_it = timed(some_steps, device)
    after = timed(some_steps, device)
    sums = {PRODUCT: 0.0, ATTENTION: 0.0, "": 0.0}
    for event in profile.key_averages():
        if device.is_cuda and event.device_type == DeviceType.CUDA:
            sums[kind_of_kernel(event.key)] += event.self_device_time_total / 1e3
        elif not device.is_cuda:
            sums[kind_of_operation(event.key)] += event.self_cpu_time_total / 1e3
    return {
        "products_ms": sums[PRODUCT] / steps,
        "attention_ms": sums[ATTENTION] / steps,
        "profiled_step_ms": under_it / steps,
        "profiled_beside_ms": (before + after) / 2 / steps,
    }


def touch_memory() -> None:
    """Take memory from the system for what the profiler will note, write to it, and give it back to the heap.

    Else the profiler's notes come to lie on fresh pages, and operations that happen to wait for these seem to take
    many times as long: up to a sixth of a small model's step.
    """
    blocks = [bytearray(b"1" * (1 << 18)) for _ in range(400)]
    blocks.clear()


def kind_of_operation(name: str) -> str:
    """Whether an operation of PyTorch's is a matrix product, fused attention, or "" neither."""
    if name in PRODUCTS:
        return PRODUCT
    return ATTENTION if name.startswith("aten::") and "attention" in name else ""


def kind_of_kernel(name: str) -> str:
    """The same of a kernel."""
    if any(
        word in name.lower() for word in ATTENTION_KERNELS
    ):  # first: attention's have a library's name, too
        return ATTENTION
    return PRODUCT if any(word in name.lower() for word in PRODUCT_KERNELS) else ""


def main() -> None:
    """Build, then answer."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what a peer prints is no answer

    def answer(words: dict[str, object]) -> None:
        print(json.dumps(words), file=answers, flush=True)

    order = json.loads(sys.argv[1])
    try:
        device = choose_device(order["device"], "auto")
        name = order["contender"]
        runner = (
            MatrixRate(device)
            if name == MATRIX_RATE
            else Training(name, Shape(**order["shape"]), device, Path(order["peers"]))
        )
        answer(runner.ready())
        for line in sys.stdin:
            what, *details = line.split()
            answer(getattr(runner, what)(*details))
    except Exception as error:  # one contender that cannot run does not stop the others
        answer({"error": f"{type(error).__name__}: {error}".splitlines()[0][:200]})


if __name__ == "__main__":
    main()
