"""`make bench-safety`: what never losing a run costs one that nothing disturbs, against a loop without it.

    python tests/benchmarks/safety.py [CONFIG] [--steps 500] [KEY=VALUE ...]

One side is `bittygpt train` as it is: checkpoints and their hashes, the watch for divergence, the look at the free
space, the log and the status file. The other is the same model, batches and optimizer in a bare loop. They take turns,
50 steps each, in one process, so that a noisy machine slows both. Evaluations are left out on both sides.
"""

import argparse
import tempfile
import time
from collections.abc import Iterator
from contextlib import redirect_stderr
from io import StringIO
from pathlib import Path
from statistics import median

import torch

from bittygpt.commands.train_setup import prepare, set_up
from bittygpt.config import load_config
from bittygpt.core import TransformerLM, clip_grad_norm
from bittygpt.terminal.training import TrainingDisplay
from bittygpt.tracking.run_log import RunLog
from bittygpt.training.checkpoints.run_folder import RunFolder
from bittygpt.training.checkpoints.run_lock import run_lock
from bittygpt.training.devices.device import choose_device
from bittygpt.training.distributed.ranks import Ranks
from bittygpt.training.loop import Trainer
from bittygpt.training.optimizers import build_optimizers
from bittygpt.training.step import update_weights
from bittygpt.training.timing.learning_rate import learning_rate

BLOCK = 50


def safe_steps(trainer: Trainer, run: RunFolder) -> Iterator[int]:
    """The run as the command does it; yields after every logged step."""
    display = TrainingDisplay(trainer.total_steps, 0, show=True)
    with run_lock(run.path):
        log = RunLog(run, trainer, display, None)
        for report in trainer.run(lambda: False, {}, log.sync):
            log.take(report)
            yield trainer.step


def bare_steps(trainer: Trainer) -> Iterator[int]:
    """The same steps, and nothing else but reading the loss."""
    config, executor = trainer.config, trainer.executor
    model = TransformerLM(trainer.model.config).to(executor.device.torch_device)
    model.load_state_dict(trainer.model.state_dict())
    compiled = torch.compile(model) if executor.compile_it else model
    optimizers = build_optimizers(model, config.optim, executor.device.precision)
    for step in range(1, trainer.total_steps + 1):
        batch = trainer.batches.batch(step)
        count = batch.num_valid()
        for optimizer in optimizers:
            optimizer.zero_grad()
        total = torch.zeros((), device=executor.device.torch_device)
        for first in range(0, len(batch.ids), executor.micro_batch_size):
            micro = batch.rows(first, first + executor.micro_batch_size)
            with executor.device.autocast():
                ids, targets = (x.to(executor.device.torch_device) for x in (micro.ids, micro.targets))
                loss = compiled(ids, targets_BT=targets) / count
            loss.backward()
            total += loss.detach()
        clip_grad_norm(model.parameters(), config.optim.grad_clip)
        update_weights(optimizers, learning_rate(step, config.optim, trainer.total_steps))
        total.item()
        yield step


def advance(steps: Iterator[int], to: int) -> float:
    """Seconds until a step is reached."""
    start = time.perf_counter()
    for step in steps:
        if step >= to:
            break
    return time.perf_counter() - start


def main() -> None:
    """Take turns and print the ratio."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("config", nargs="?", type=Path, default=Path("configs/quickstart.yaml"))
    parser.add_argument("--steps", type=int, default=500)
    arguments, overrides = parser.parse_known_args()
    with tempfile.TemporaryDirectory() as name:
        settings = [f"run.dir={name}", f"data.dir={name}/tokens", f"train.max_steps={arguments.steps + 1}"]
        config = load_config(arguments.config, [*settings, "train.eval_every=1000000", *overrides])
        device = choose_device(config.train.device, config.train.precision)
        run = RunFolder(Path(name) / "run")
        run.path.mkdir()
        tokens = prepare(config, Ranks())
        trainer = set_up(config, run, tokens, device, Ranks())
        assert trainer is not None
        bare, safe = bare_steps(trainer), safe_steps(trainer, run)
        times: list[tuple[float, float]] = []
        with redirect_stderr(StringIO()):
            for to in range(BLOCK, arguments.steps + 1, BLOCK):
                pair = (advance(safe, to), advance(bare, to))
                if to > BLOCK:  # the first block warms up, and compiles
                    times.append(pair)
    ours, without = (sum(side) for side in zip(*times, strict=True))
    ratios = [a / b for a, b in times]
    print(
        f"{trainer.model.num_parameters():,} parameters, {len(times) * BLOCK} steps a side on {device.torch_device}"
    )
    print(f"bittygpt {ours:.2f} s, bare loop {without:.2f} s: ratio {ours / without:.4f}")
    print(
        f"blocks of {BLOCK} steps: median ratio {median(ratios):.4f}, from {min(ratios):.4f} to {max(ratios):.4f}"
    )


if __name__ == "__main__":
    main()
