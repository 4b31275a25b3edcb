"""The loss of a nanoGPT checkpoint over its whole validation split, for `make bench-shakespeare`.

    python tests/benchmarks/nanogpt_loss.py FOLDER CHECKPOINT [--device cpu|cuda]

FOLDER is nanoGPT with its data prepared. Its own estimate is that of some random batches; here windows of its context
follow one another without overlap, and every token but the first is a target once. Prints JSON.
"""

import argparse
import json
import sys
from contextlib import redirect_stdout
from pathlib import Path

import numpy as np
import torch

AT_ONCE = 64


def windows(tokens: torch.Tensor, context: int) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Pairs (ids, targets) of many windows each, and what is left over, shorter, by itself."""
    ids, targets = tokens[:-1], tokens[1:]
    whole = len(ids) // context * context
    batches = list(
        zip(
            ids[:whole].view(-1, context).split(AT_ONCE),
            targets[:whole].view(-1, context).split(AT_ONCE),
            strict=True,
        )
    )
    return batches + ([(ids[None, whole:], targets[None, whole:])] if whole < len(ids) else [])


@torch.no_grad()
def main() -> None:
    """Load, go through the split, print the mean."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("--device", default="cpu")
    arguments = parser.parse_args()
    sys.path.insert(0, str(arguments.folder))
    from model import GPT, GPTConfig

    checkpoint = torch.load(arguments.checkpoint, map_location=arguments.device)
    weights = {key.removeprefix("_orig_mod."): value for key, value in checkpoint["model"].items()}
    with redirect_stdout(sys.stderr):
        model = GPT(GPTConfig(**checkpoint["model_args"])).to(arguments.device).eval()
    model.load_state_dict(weights)
    split = np.fromfile(arguments.folder / "data" / "shakespeare_char" / "val.bin", dtype=np.uint16)
    tokens = torch.from_numpy(split.astype(np.int64)).to(arguments.device)
    total = 0.0
    for ids, targets in windows(tokens, model.config.block_size):
        total += model(ids, targets)[1].item() * targets.numel()
    config = checkpoint["config"]
    steps = config["max_iters"] + 1  # its loop ends after the step of that number, counted from 0
    result = {
        "loss": total / (len(tokens) - 1),
        "targets": len(tokens) - 1,
        "own_estimate": float(checkpoint["best_val_loss"]),
        "checkpoint_step": checkpoint["iter_num"],
        "parameters": sum(p.numel() for p in model.parameters()),
        "tokens": steps * config["batch_size"] * config["block_size"] * config["gradient_accumulation_steps"],
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
