"""`make ablation`: what each ingredient of `configs/shakespeare.yaml` gives, in steps and in time.

    python tests/benchmarks/ablation.py TEXT [--target LOSS] [--json FILE] [NAME ...]

Each line is the whole recipe but for one ingredient, trained by the real command and validated over the whole split
every 25 steps. `steps` and `seconds` are those of training to the first validation at or below the target, without the
evaluations. A shared machine only ever adds to the time of a step: what counts is the time that a tenth of a run's
steps stay below, and of `--rounds` runs the quickest. The whole recipe stands first and last: how far its two lines
differ in time is what noise is left.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from contextlib import nullcontext
from pathlib import Path

CONFIG = Path(__file__).resolve().parents[2] / "configs" / "shakespeare.yaml"
EVAL_EVERY = 25
WHOLE = "the whole recipe"
WITHOUT = {  # name: overrides of the config, or what is done to the program (`patched`)
    WHOLE: [],
    "AdamW for Muon": ["optim.name=adamw", "optim.lr=null"],
    "no QK-norm": ["model.qk_norm=false"],
    "momentum 0.95 for 0.85": ["optim.betas=[0.95,0.95]"],
    "cosine for a straight line": ["optim.schedule=cosine"],
    "decay in the last fifth alone": ["optim.decay_fraction=0.2"],
    "learning rate stays": ["optim.schedule=constant"],
    "no warm-up": ["optim.warmup_steps=0"],
    "weight decay 0.1": ["optim.weight_decay=0.1"],
    "GELU for SwiGLU": ["model.activation=gelu", "model.d_ff=672"],
    "one learning rate for all": "embedding",
    "products in float32": ["train.precision=fp32"],
    "PyTorch's operations for C": "c",
    "formulas, no fast paths": "fast paths",
}


def patched(name: str) -> object:
    """Take an ingredient out of the program that no key of the config is for."""
    if name == "embedding":
        from bittygpt.training import optimizers

        optimizers.embedding_lr_scale = lambda _: 1.0
    if name == "c":
        from bittygpt.engine.kernels.cpu import without_c

        return without_c()
    if name == "fast paths":
        from bittygpt.core import clip_grad_norm
        from bittygpt.training import executor, optimizers, step

        executor.accelerate = optimizers.fused = lambda formula: formula
        step.clip_grad_norm = clip_grad_norm
    return nullcontext()


def train(name: str, text: Path, folder: Path, more: list[str]) -> list[dict]:
    """The events of a run."""
    change = WITHOUT[name]
    patch, overrides = (change, []) if isinstance(change, str) else ("", change)
    run = folder / name.replace(" ", "-")
    command = [sys.executable, __file__, "--patch", patch, "train", str(CONFIG), f"data.train=[{text}]"]
    command += [f"data.dir={folder}/tokens", f"run.dir={folder}", f"run.name={run.name}", *overrides, *more]
    command += [f"train.eval_every={EVAL_EVERY}", "train.save_every=1000000", "train.log_every=1", "--fresh"]
    done = subprocess.run(command, env=os.environ, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} ended with {done.returncode}:\n{done.stderr[-2000:]}")
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


def figures(events: list[dict], target: float) -> dict[str, float | None]:
    """What the table says of a run."""
    steps = [event for event in events if event["event"] == "step"]
    evals = [event for event in events if event["event"] == "eval"]
    tokens_per_step = steps[-1]["tokens"] / steps[-1]["step"]
    times = sorted(1e3 * tokens_per_step / event["tokens_per_second"] for event in steps[5:])
    step_ms = times[len(times) // 10]
    reached = next((event["step"] for event in evals if event["val_loss"] <= target), None)
    seconds = None if reached is None else reached * step_ms / 1e3
    return {"val_loss": evals[-1]["val_loss"], "step_ms": step_ms, "steps": reached, "seconds": seconds}


def main() -> None:
    """Train all of them one after the other, in rounds, and print a line after each."""
    if sys.argv[1:2] == ["--patch"]:  # a run of its own process
        patch, sys.argv[1:] = sys.argv[2], sys.argv[3:]
        from bittygpt.__main__ import main as bittygpt

        with patched(patch):
            bittygpt()
        return
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("text", type=Path)
    parser.add_argument("names", nargs="*", default=[*WITHOUT, WHOLE])
    parser.add_argument("--target", type=float, default=1.886)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", dest="more")
    arguments = parser.parse_intermixed_args()
    print(f"{'':34}val loss   ms a step   to {arguments.target:g}: steps  seconds", flush=True)
    rows: dict[int, dict] = {}
    with tempfile.TemporaryDirectory() as folder:
        for number, name in [*enumerate(arguments.names)] * arguments.rounds:
            events = train(name, arguments.text.resolve(), Path(folder), arguments.more)
            row = figures(events, arguments.target)
            reached = "    never" if row["steps"] is None else f"{row['steps']:9}{row['seconds']:9.1f}"
            print(f"{name:34}{row['val_loss']:8.4f}{row['step_ms']:12.1f}{'':10}{reached}", flush=True)
            if number not in rows or row["step_ms"] < rows[number]["step_ms"]:
                rows[number] = {"name": name, **row}
    if arguments.json:
        arguments.json.parent.mkdir(parents=True, exist_ok=True)
        arguments.json.write_text(json.dumps([*rows.values()], indent=2) + "\n")


if __name__ == "__main__":
    main()
