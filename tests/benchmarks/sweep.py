"""`make sweep`: the learning rate, tried around its default at several widths: does the default hold?

    python tests/benchmarks/sweep.py CONFIG [--factors 0.25,0.5,1,2,4] [--jobs N] [--json FILE] [KEY=V1,V2,... ...]

Every combination of the values is trained by the real command, the learning rate being the default of that width and
optimizer times each factor. The table has a line for each combination and a column for each factor: where the default
holds, the best loss of every line stands in the same column, at 1 or beside it. The jobs share out the processor's
threads; losses do not depend on how busy the machine is.
"""

import argparse
import itertools
import json
import math
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from bittygpt.config import load_config


def combinations(settings: list[str]) -> list[list[str]]:
    """KEY=a,b settings -> every choice of one value for each; a value in brackets is one value."""
    axes = []
    for setting in settings:
        key, _, values = setting.partition("=")
        several = [values] if values.startswith("[") else values.split(",")
        axes.append([f"{key}={value}" for value in several])
    return [list(choice) for choice in itertools.product(*axes)]


def train(config: Path, overrides: list[str], folder: Path, threads: int) -> float:
    """Validation loss at the end of a run; NaN where it diverged."""
    command = [sys.executable, "-m", "bittygpt", "train", str(config), *overrides]
    command += [
        f"run.dir={folder.parent}",
        f"run.name={folder.name}",
        "train.keep=1",
        "train.save_every=1000000",
    ]
    environment = os.environ | {"OMP_NUM_THREADS": str(threads)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode == 3:
        return math.nan
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} ended with {done.returncode}:\n{done.stderr[-2000:]}")
    events = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    losses = [event["val_loss"] for event in events if event["event"] == "eval"]
    if not losses:
        raise SystemExit(f"{config} validates nothing: set data.val_fraction")
    return float(losses[-1])


def best(row: list[float]) -> int:
    """The column of the lowest loss."""
    return min(range(len(row)), key=lambda i: math.inf if math.isnan(row[i]) else row[i])


def grid(
    config_path: Path, choices: list[list[str]], factors: list[float], folder: Path, jobs: int
) -> Iterator[tuple[list[str], float, list[float]]]:
    """Train everything; yields each combination with its default learning rate and its losses, factor by factor."""
    tokens = f"data.dir={folder}/tokens"
    command = [sys.executable, "-m", "bittygpt", "tokenize", str(config_path), *choices[0], tokens]
    subprocess.run(command, check=True, capture_output=True)
    threads = max(1, (os.cpu_count() or 1) // jobs)
    with ThreadPoolExecutor(jobs) as pool:
        rows = []
        for i, choice in enumerate(choices):
            optim = load_config(config_path, choice).optim
            losses = []
            for j, factor in enumerate(factors):
                rates = [f"optim.lr={optim.lr * factor}", f"optim.min_lr={optim.min_lr * factor}"]
                arguments = (config_path, [*choice, tokens, *rates], folder / f"{i}-{j}", threads)
                losses.append(pool.submit(train, *arguments))
            rows.append((choice, optim.lr, losses))
        for choice, lr, losses in rows:
            yield choice, lr, [loss.result() for loss in losses]


def main() -> None:
    """Train the grid and print the table, a line as soon as it is whole."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("config", type=Path)
    parser.add_argument("settings", nargs="*")
    parser.add_argument("--factors", default="0.25,0.5,1,2,4")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_intermixed_args()
    factors = [float(text) for text in arguments.factors.split(",")]
    choices = combinations(arguments.settings)
    varied = [i for i, axis in enumerate(zip(*choices, strict=True)) if len(set(axis)) > 1]
    titles = {str(choice): " ".join(choice[i] for i in varied) or str(arguments.config) for choice in choices}
    width = max(map(len, [*titles.values(), "validation loss"]))
    columns = "".join(f"{f'x {factor:g}':>8} " for factor in factors)
    print(f"{'validation loss':{width}}  default lr{columns}", flush=True)
    results = []
    with tempfile.TemporaryDirectory() as name:
        for choice, lr, losses in grid(arguments.config, choices, factors, Path(name), arguments.jobs):
            cells = "".join(
                f"{loss:8.4f}{'*' if i == best(losses) else ' '}" for i, loss in enumerate(losses)
            )
            print(f"{titles[str(choice)]:{width}}{lr:12.2g}{cells}", flush=True)
            settings = [choice[i] for i in varied]
            results.append({"settings": settings, "lr": lr, "factors": factors, "val_loss": losses})
    if arguments.json:
        arguments.json.parent.mkdir(parents=True, exist_ok=True)
        arguments.json.write_text(json.dumps(results, indent=2) + "\n")


if __name__ == "__main__":
    main()
