"""`make bench-plan`: what `train --plan` says of a run, and what the run then measures.

    python tests/benchmarks/plan.py [--text FILE] [--configs quickstart shakespeare wide] [--rounds N] [--json FILE]

Overrides make each run take about half a minute. The tokens are made first; then the plan, then
the run, each a process of its own, round after round: a machine that is shared changes its speed between the two, and
one plan beside one run may show nothing but that. A figure is right if the median of planned / measured lies between
0.9 and 1.1. Where others had much of the machine meanwhile, neither side means much (OMP_NUM_THREADS=1 suffers least).
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import harmonic_mean, median

REPOSITORY = Path(__file__).resolve().parents[2]
CONFIGS = {
    "quickstart": ["quickstart", "train.max_steps=500", "train.eval_every=250", "train.save_every=250"],
    "shakespeare": ["shakespeare", "train.max_steps=400", "train.eval_every=200", "train.save_every=100"],
    "wide": [
        "quickstart",
        "model.d_model=384",
        "model.num_layers=6",
        "model.num_heads=6",
        "optim.name=adamw",
        "optim.lr=1e-3",
        "train.batch_size=16",
        "train.micro_batch_size=4",
        "train.max_steps=16",
        "optim.warmup_steps=4",
        "train.eval_every=16",
        "train.eval_tokens=20000",
        "train.save_every=8",
        "train.log_every=2",
        "train.precision=fp32",
    ],
}


def busy_seconds() -> float:
    """Of all processors, of all processes, since the machine began."""
    with open("/proc/stat", encoding="ascii") as file:
        user, nice, system, _idle, _io, irq, soft, steal, *_ = map(int, file.readline().split()[1:])
    return (user + nice + system + irq + soft + steal) / os.sysconf("SC_CLK_TCK")


class OtherLoad:
    """The share of the machine that others had within it, of which every figure suffers."""

    def __enter__(self) -> "OtherLoad":
        self.since, self.busy, self.own = time.perf_counter(), busy_seconds(), own_seconds()
        return self

    def __exit__(self, *_: object) -> None:
        others = busy_seconds() - self.busy - (own_seconds() - self.own)
        self.share = max(0.0, others / (time.perf_counter() - self.since) / (os.cpu_count() or 1))


def own_seconds() -> float:
    """Of this process and of those that it has started and seen end."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def bittygpt(*arguments: str) -> tuple[str, float]:
    """Its stdout, and how long the process was there."""
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    since = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-m", "bittygpt", *arguments],
        capture_output=True,
        text=True,
        env=environment,
        check=False,
    )
    if done.returncode:
        raise SystemExit(f"bittygpt {' '.join(arguments)}\n{done.stderr}")
    return done.stdout, time.perf_counter() - since


Pairs = dict[str, list[tuple[float, float]]]


def compare(name: str, folder: Path, text: str | None, rounds: int) -> Pairs:
    """Planned and measured figures of one config, of each round."""
    config, *overrides = CONFIGS[name]
    overrides += [f"run.dir={folder}/runs", f"data.dir={folder}/{name}", f"run.name={name}"]
    if config == "shakespeare" and text:
        overrides.append(f"data.train=[{text}]")
    arguments = [str(REPOSITORY / "configs" / f"{config}.yaml"), *overrides]
    bittygpt("tokenize", *arguments)
    pairs: Pairs = {}
    for _ in range(rounds):
        for figure, pair in plan_and_run(arguments).items():
            pairs.setdefault(figure, []).append(pair)
    return pairs


def plan_and_run(arguments: list[str]) -> dict[str, tuple[float, float]]:
    """Planned and measured figures, once."""
    with OtherLoad() as while_planning:
        plan = json.loads(bittygpt("train", *arguments, "--fresh", "--plan", "--json")[0])
    with OtherLoad() as while_running:
        out, wall = bittygpt("train", *arguments, "--fresh", "--json")
    events = [json.loads(line) for line in out.splitlines()]
    steps = [event for event in events if event["event"] == "step"]
    checkpoint = Path(events[-1]["checkpoint"])
    return {
        "tokens/s": (
            plan["tokens_per_second"],
            harmonic_mean(event["tokens_per_second"] for event in steps[1:]),
        ),
        "seconds to the end": (plan["time"]["total"], wall),
        "memory, GB": (plan["memory"]["peak"] / 1e9, steps[-1]["memory_gb"]),
        "checkpoint, MB": (plan["disk"]["checkpoint"] / 1e6, size_of(checkpoint) / 1e6),
        "others' load, %": (100 * while_planning.share, 100 * while_running.share),
    }


def line(figure: str, pairs: list[tuple[float, float]]) -> str:
    """Medians of the rounds."""
    planned, measured = (median(side) for side in zip(*pairs, strict=True))
    ratios = sorted(plan / run for plan, run in pairs if run)
    spread = f"{median(ratios):7.3f} ({ratios[0]:.3f} to {ratios[-1]:.3f})" if ratios else ""
    return f"{figure:22}{planned:12,.2f}{measured:12,.2f}{spread}"


def size_of(folder: Path) -> int:
    """Bytes of the files in a folder."""
    return sum(file.stat().st_size for file in folder.iterdir())


def main() -> None:
    """Config after config, a line a figure."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--text", help="a text for shakespeare.yaml, such as tinyshakespeare.txt")
    parser.add_argument("--configs", nargs="+", choices=CONFIGS, default=list(CONFIGS))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=Path, help="write all figures there too")
    options = parser.parse_args()
    figures = {}
    print(f"{'config':14}{'figure':22}{'planned':>12}{'measured':>12}  ratio (least to most)")
    with tempfile.TemporaryDirectory() as folder:
        for name in options.configs:
            figures[name] = compare(name, Path(folder), options.text, options.rounds)
            for figure, pairs in figures[name].items():
                print(f"{name:14}{line(figure, pairs)}", flush=True)
    if options.json:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(json.dumps(figures, indent=2) + "\n")


if __name__ == "__main__":
    main()
