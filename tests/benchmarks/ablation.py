"""`make ablation`: what each ingredient of `configs/shakespeare.yaml` gives, in steps and in time.

    python tests/benchmarks/ablation.py TEXT [--target LOSS] [--json FILE] [NAME ...]

Each line is the whole recipe but for one ingredient, trained by the real command and validated over the whole split
every 25 steps. `steps` are those to the first validation at or below the target. The speed of a shared machine changes
from one minute to the next, so a step's time is a ratio: right before each run the whole recipe is trained as well, and
the median over `--rounds` counts. `seconds` is that ratio times the whole recipe's median time of a step, times
`steps`: training alone, without the evaluations.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from contextlib import nullcontext
from itertools import product
from pathlib import Path
from statistics import median

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
    "formulas, no twins": "twins",
}


def patched(name: str) -> object:
    """Take an ingredient out of the program that no key of the config is for."""
    if name == "embedding":
        from bittygpt.training import optimizers

        optimizers.embedding_lr_scale = lambda _: 1.0
    if name == "c":
        from bittygpt.core.twins import without_c

        return without_c()
    if name == "twins":
        from bittygpt.core.twins import formulas_alone

        return formulas_alone()
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


def step_time(events: list[dict]) -> float:
    """Milliseconds of a step, the median of a run."""
    steps = [event for event in events if event["event"] == "step"]
    tokens_per_step = steps[-1]["tokens"] / steps[-1]["step"]
    return 1e3 * median(tokens_per_step / event["tokens_per_second"] for event in steps[5:])


def losses(events: list[dict], target: float) -> tuple[float, int | None]:
    """The last validation loss, and the steps to the first one at or below the target."""
    evals = [event for event in events if event["event"] == "eval"]
    return evals[-1]["val_loss"], next((e["step"] for e in evals if e["val_loss"] <= target), None)


def make_row(
    name: str, runs: list[list[dict]], beside: list[list[dict]], whole_ms: float, target: float
) -> dict:
    """What the table says of an ingredient: its runs, and those of the whole recipe right before each."""
    ratios = [step_time(run) / step_time(other) for run, other in zip(runs, beside, strict=True)]
    val_loss, steps = losses(runs[0], target)
    step_ms = median(ratios) * whole_ms
    return {
        "name": name,
        "val_loss": val_loss,
        "step_ms": step_ms,
        "ratios": ratios,
        "steps": steps,
        "seconds": None if steps is None else steps * step_ms / 1e3,
    }


def measure(arguments: argparse.Namespace) -> list[dict]:
    """The rows: that of the whole recipe, and one for each name, trained one after the other in rounds."""
    names, text, target = arguments.names, arguments.text.resolve(), arguments.target
    runs: dict[str, list[list[dict]]] = {name: [] for name in names}
    beside: dict[str, list[list[dict]]] = {name: [] for name in names}
    with tempfile.TemporaryDirectory() as folder:
        for number, name in product(range(1, 1 + arguments.rounds), names):
            for which, kept in ((WHOLE, beside), (name, runs)):
                kept[name].append(train(which, text, Path(folder), arguments.more))
            ratio = step_time(runs[name][-1]) / step_time(beside[name][-1])
            print(f"round {number}: {name}: {ratio:.2f} of the time of a step", file=sys.stderr, flush=True)
    wholes = [run for name in names for run in beside[name]]
    whole_ms = median(map(step_time, wholes))
    whole = make_row(WHOLE, wholes, wholes, whole_ms, target)
    return [whole, *(make_row(name, runs[name], beside[name], whole_ms, target) for name in names)]


def main() -> None:
    """Train all, and print a line for each."""
    if sys.argv[1:2] == ["--patch"]:  # a run of its own process
        patch, sys.argv[1:] = sys.argv[2], sys.argv[3:]
        from bittygpt.__main__ import main as bittygpt

        with patched(patch):
            bittygpt()
        return
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("text", type=Path)
    parser.add_argument("names", nargs="*", default=[name for name in WITHOUT if name != WHOLE])
    parser.add_argument("--target", type=float, default=1.886)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", dest="more")
    arguments = parser.parse_intermixed_args()
    rows = measure(arguments)
    print(f"{'':32}val loss   ms a step   times the whole recipe's   to {arguments.target:g}: steps  seconds")
    for row in rows:
        spread = f"{median(row['ratios']):.2f} ({min(row['ratios']):.2f} to {max(row['ratios']):.2f})"
        reached = "    never" if row["steps"] is None else f"{row['steps']:9}{row['seconds']:9.1f}"
        print(f"{row['name']:32}{row['val_loss']:8.4f}{row['step_ms']:12.1f}{spread:>27}{'':10}{reached}")
    if arguments.json:
        arguments.json.parent.mkdir(parents=True, exist_ok=True)
        arguments.json.write_text(json.dumps(rows, indent=2) + "\n")


if __name__ == "__main__":
    main()
