"""`make bench`: how long a training step takes, part by part, and what share of the machine's matrix rate it reaches.

    python tests/benchmark.py [--steps N] [--json FILE] [--device cpu|cuda]

Every line is one shape. The matrix rate that shares are taken of is measured in the same run, so that a noisy or
shared machine slows both. Needs torch and nothing else besides bittygpt's core and training rooms.
"""

import argparse
import json
import time
from pathlib import Path

import torch
from torch import nn

from bittygpt.core import AdamW, ModelConfig, TransformerLM, clip_grad_norm
from bittygpt.data.batches import Batch
from bittygpt.training.devices import Device, choose_device
from bittygpt.training.step import micro_batch_loss

# name: (shape, sequences in a step); the ones that suit a CPU first
SHAPES = {
    "0.8M": (ModelConfig(257, 64, 128, 4, 4, qk_norm=True), 12),
    "10M": (ModelConfig(2000, 256, 384, 5, 6), 8),
    "23M": (ModelConfig(10_000, 256, 512, 4, 16, d_ff=1344), 64),
    "124M": (ModelConfig(50_257, 1024, 768, 12, 12, d_ff=2048, tie_embeddings=True), 16),
    "350M": (ModelConfig(50_257, 1024, 1024, 24, 16, d_ff=2752, tie_embeddings=True), 8),
}
ON_CPU = ("0.8M", "10M")


def matrix_rate(device: Device) -> float:
    """FLOP/s of one large square product in the precision that the steps use: the median of ten."""
    size = 8192 if device.is_cuda else 1024
    dtype = torch.bfloat16 if device.precision == "bf16" else torch.float32
    a, b = (torch.randn(size, size, device=device.torch_device, dtype=dtype) for _ in range(2))
    seconds = sorted(timed(lambda: a @ b, device) for _ in range(13))
    return 2 * size**3 / seconds[len(seconds) // 2]


def timed(work, device: Device) -> float:
    """Seconds that a piece of work takes, the device's queue emptied before and after."""
    device.synchronize()
    start = time.perf_counter()
    work()
    device.synchronize()
    return time.perf_counter() - start


def measure(name: str, device: Device, steps: int) -> dict[str, object]:
    """Median seconds of the parts of a step, after three steps that are not counted."""
    config, batch_size = SHAPES[name]
    torch.manual_seed(0)
    model = TransformerLM(config).to(device.torch_device)
    compiled: nn.Module = torch.compile(model) if device.is_cuda else model
    optimizer = AdamW(model.parameters(), lr=1e-3)
    ids = torch.randint(0, config.vocab_size, (batch_size, config.context_length + 1))
    batch = Batch(ids[:, :-1].to(device.torch_device), ids[:, 1:].to(device.torch_device))
    parts: dict[str, list[float]] = {"forward": [], "backward": [], "clip": [], "optimizer": []}
    losses: list[torch.Tensor] = []
    for _ in range(steps + 3):
        optimizer.zero_grad(set_to_none=True)
        losses.clear()
        parts["forward"].append(
            timed(lambda: losses.append(micro_batch_loss(compiled, batch, device)), device)
        )
        parts["backward"].append(timed(lambda: (losses[0] / batch.ids.numel()).backward(), device))
        parts["clip"].append(timed(lambda: clip_grad_norm(model.parameters(), 1.0), device))
        parts["optimizer"].append(timed(optimizer.step, device))
    medians = {part: sorted(seconds[3:])[steps // 2] for part, seconds in parts.items()}
    tokens = batch.ids.numel() / sum(medians.values())
    return {
        "shape": name,
        "parameters": model.num_parameters(),
        **{f"{part}_ms": 1e3 * seconds for part, seconds in medians.items()},
        "step_ms": 1e3 * sum(medians.values()),
        "tokens_per_second": tokens,
        "flops_per_second": tokens * model.flops_per_token(),
        "peak_memory_gb": device.peak_memory_gb(),
    }


def main() -> None:
    """Measure every shape that suits the device and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=15)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--device", default="auto")
    arguments = parser.parse_args()
    device = choose_device(arguments.device, "auto")
    rate = matrix_rate(device)
    where = torch.cuda.get_device_name() if device.is_cuda else f"{torch.get_num_threads()} threads"
    print(f"{device.torch_device} ({where}), {device.precision}, torch {torch.__version__}")
    print(f"matrix rate {rate / 1e12:.2f} TFLOP/s")
    print("shape   parameters  forward backward   clip  optim.   step ms   tokens/s  of matrix rate  memory")
    rows = []
    for name in SHAPES if device.is_cuda else ON_CPU:
        row = measure(name, device, arguments.steps)
        row["share_of_matrix_rate"] = row["flops_per_second"] / rate
        rows.append(row)
        times = "".join(f"{row[f'{part}_ms']:8.1f}" for part in ("forward", "backward", "clip", "optimizer"))
        print(
            f"{name:6}{row['parameters']:12,} {times}{row['step_ms']:10.1f}{row['tokens_per_second']:11,.0f}"
            f"{row['share_of_matrix_rate']:15.0%}{row['peak_memory_gb']:7.2f} GB",
            flush=True,
        )
    if arguments.json:
        arguments.json.parent.mkdir(parents=True, exist_ok=True)
        arguments.json.write_text(
            json.dumps({"device": where, "matrix_flops": rate, "rows": rows}, indent=2) + "\n"
        )


if __name__ == "__main__":
    main()
