"""Trains the copy of the package that is imported here, by its fast paths and by its formulas alone; says both as JSON.

A script for `tests/test_edits_of_core.py`.
"""

import json
from collections import Counter
from types import SimpleNamespace
from unittest.mock import patch

import torch

import bittygpt
from bittygpt.config import RunConfig
from bittygpt.core import ModelConfig, TransformerLM, clip_grad_norm
from bittygpt.data.batches import Batch
from bittygpt.engine.accelerate import notes_on_changes
from bittygpt.engine.function import FusedFunction
from bittygpt.engine.optimizers import FusedOptimizer
from bittygpt.training import optimizers
from bittygpt.training.devices.device import Device
from bittygpt.training.distributed.ranks import Ranks
from bittygpt.training.executor import Executor

VOCAB, STEPS = 50, 4
CONFIG = RunConfig.model_validate(
    {
        "data": {"train": "none"},
        "model": {"context_length": 12, "d_model": 32, "num_layers": 2, "num_heads": 4, "num_kv_heads": 2},
        "optim": {"lr": 0.01},
        "train": {"batch_size": 4, "micro_batch_size": 2, "max_steps": STEPS, "device": "cpu"},
    }
)
calls: Counter[str] = Counter()


def counted(name, function):
    def call(*arguments, **more):
        calls[name] += 1
        return function(*arguments, **more)

    return call


def watch() -> None:
    """Count the calls of every fast path."""
    for kind in FusedFunction.__subclasses__():
        kind.forward = staticmethod(counted(kind.__name__, kind.forward))
    for kind in FusedOptimizer.__subclasses__():
        kind.update_list = counted("fused optimizer", kind.update_list)


def model() -> TransformerLM:
    torch.manual_seed(1)
    return TransformerLM(ModelConfig(vocab_size=VOCAB, **CONFIG.model.model_dump()))


def batches() -> list[Batch]:
    draw = torch.Generator().manual_seed(2)
    ids = [torch.randint(VOCAB, (4, 13), generator=draw) for _ in range(STEPS)]
    return [Batch(x[:, :-1].contiguous(), x[:, 1:].contiguous()) for x in ids]


def by_fast_paths() -> list[float]:
    executor = Executor(CONFIG, model(), Device(torch.device("cpu"), "fp32"), Ranks())
    losses = []
    for number, batch in enumerate(batches()):
        if not number:
            executor.start(batch)
        losses.append(executor.gradients(batch, stop_asked=False).loss)
        executor.update(CONFIG.optim.lr)
    return losses


def by_formulas() -> list[float]:
    """The core model and the core optimizer, and nothing else."""
    plain, losses = model(), []
    with patch.object(optimizers, "fused", lambda kind: kind):
        (optimizer,) = optimizers.build_optimizers(plain, CONFIG.optim)
    for group in optimizer.param_groups:
        group["lr"] = CONFIG.optim.lr * group["lr_scale"]
    for batch in batches():
        plain.zero_grad()
        loss = plain(batch.ids, batch.targets) / batch.targets.numel()
        loss.backward()
        clip_grad_norm(plain.parameters(), CONFIG.optim.grad_clip)
        optimizer.step()
        losses.append(loss.item())
    return losses


if __name__ == "__main__":
    watch()
    found = SimpleNamespace(fast=by_fast_paths(), calls=dict(calls))
    calls.clear()
    found.formula = by_formulas()
    found.calls_by_formulas = dict(calls)
    found.notes, found.package = notes_on_changes(), bittygpt.__file__
    print(json.dumps(vars(found)))
