"""Small runs for the tests of the training room."""

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from bittygpt.config import config_to_yaml, load_config
from bittygpt.core import ModelConfig, TransformerLM
from bittygpt.data.shards import TokenSplit
from bittygpt.tokenizer.tokenizer import Tokenizer
from bittygpt.training.devices.device import Device
from bittygpt.training.distributed.ranks import Ranks
from bittygpt.training.loop import Trainer
from bittygpt.training.timing.process_clock import process_age

CONFIG = """
data: {train: [unused.txt]}
tokenizer: {vocab_size: 257}
model: {context_length: 16, d_model: 16, num_layers: 2, num_heads: 2, d_ff: 32, qk_norm: true}
optim: {lr: 1e-2, warmup_steps: 2}
train: {batch_size: 4, max_steps: 8, eval_every: 4, save_every: 2, keep: 2, log_every: 1, device: cpu}
"""


@pytest.fixture
def tokenizer() -> Tokenizer:
    return Tokenizer([b"<|endoftext|>", *(bytes([b]) for b in range(256))], ["<|endoftext|>"])


@pytest.fixture
def make_trainer(tmp_path: Path, tokenizer: Tokenizer):
    """A function from overrides to a trainer whose checkpoints lie in the given folder."""
    (tmp_path / "run.yaml").write_text(CONFIG)

    def make(
        *overrides: str,
        folder: str = "checkpoints",
        ranks: Ranks | None = None,
        document_of: int | None = None,
        clock: Callable[[], float] = process_age,
    ) -> Trainer:
        text = np.random.default_rng(0).integers(1, 20, 2000)
        if document_of is not None:
            text[document_of - 1 :: document_of] = 0
            text[[299, 1999]] = 0
        for split in ("train", "val"):
            tokens = text if split == "train" else text[:300]
            np.save(tmp_path / f"{split}-00000.npy", tokens.astype(np.uint16))
        config = load_config(tmp_path / "run.yaml", overrides)
        torch.manual_seed(config.run.seed)
        model = TransformerLM(ModelConfig(vocab_size=257, **config.model.model_dump()))
        splits = [
            TokenSplit(tmp_path, [{"file": f"{name}-00000.npy", "tokens": size}])
            for name, size in (("train", 2000), ("val", 300))
        ]
        device = Device(torch.device("cpu"), config.train.precision.replace("auto", "fp32"))
        yaml = config_to_yaml(config)
        return Trainer(
            config,
            model,
            tokenizer,
            *splits,
            "hash",
            device,
            ranks or Ranks(),
            tmp_path / folder,
            yaml,
            clock,
        )

    return make


@pytest.fixture
def finish():
    """A function that runs a trainer to its end and gives its reports by kind."""

    def run(
        trainer: Trainer, stop_after: int | None = None, val_losses: dict | None = None
    ) -> SimpleNamespace:
        reports: dict[str, list] = {}
        stop = lambda: stop_after is not None and trainer.step >= stop_after  # noqa: E731
        for report in trainer.run(stop, val_losses or {}):
            reports.setdefault(type(report).__name__, []).append(report)
        return SimpleNamespace(**reports)

    return run
