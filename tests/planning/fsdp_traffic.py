"""Run by test_network.py in a process of its own: a step of FSDP2 among ranks that are not there, and what it sends.

python fsdp_traffic.py RANKS MICRO_BATCHES
"""

import json
import sys
from collections import Counter

import torch
import torch.distributed as dist
from torch.testing._internal.distributed.fake_pg import FakeStore
from torch.utils._python_dispatch import TorchDispatchMode

from bittygpt.config import RunConfig
from bittygpt.core import ModelConfig, TransformerLM
from bittygpt.data.batches import Batch
from bittygpt.training.devices.device import Device
from bittygpt.training.distributed.ranks import Ranks
from bittygpt.training.executor import Executor


class Collectives(TorchDispatchMode):
    """Adds up the largest tensor, in bytes, of every exchange: the whole that is gathered or summed."""

    def __init__(self) -> None:
        super().__init__()
        self.sizes: Counter[str] = Counter()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if func.namespace == "c10d":
            flat = torch.utils._pytree.tree_leaves(args)
            tensors = [x for x in flat if isinstance(x, torch.Tensor)]
            self.sizes[func._opname.strip("_")] += max(t.numel() * t.element_size() for t in tensors)
        return func(*args, **(kwargs or {}))


def main(ranks: int, micro_batches: int) -> None:
    """Print the sizes of the exchanges, and of the model's parts."""
    dist.init_process_group("fake", rank=0, world_size=ranks, store=FakeStore())
    train = {"batch_size": 2 * ranks * micro_batches, "micro_batch_size": 2, "parallel": "fsdp"}
    model = {"context_length": 8, "d_model": 32, "num_layers": 3, "num_heads": 2}
    config = RunConfig.model_validate({"data": {"train": ["x"]}, "model": model, "train": train})
    built = TransformerLM(ModelConfig(vocab_size=100, **config.model.model_dump()))
    layers, whole = (4 * sum(p.numel() for p in part.parameters()) for part in (built.layers, built))
    executor = Executor(config, built, Device(torch.device("cpu"), "fp32"), Ranks(0, ranks, 0))
    ids = torch.zeros(train["batch_size"], 8, dtype=torch.int64)
    executor.start(Batch(ids, ids))
    with Collectives() as seen:
        executor.gradients(Batch(ids, ids), False)
    print(json.dumps({"layers": layers, "around": whole - layers, **seen.sizes}))


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
