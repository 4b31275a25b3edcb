"""`make bench`: how long a training step takes, part by part, how much memory, and how the peers do on the same.

    python tests/benchmark.py [--json FILE] [--peers DIR] [--device cpu|cuda] [--shapes NAME ...] [--rounds N]

Every line is one contender on one shape, in a process of its own. All contenders of a shape take turns, round after
round, and the matrix rate that shares are taken of is measured in turn with them, so that a noisy machine slows all.
nanoGPT and nanochat take part where they are checked out in the folder that --peers names. The last shape has a
vocabulary of 50,000: there, our loss that holds few logits is measured beside the same that holds all of them.

Needs torch, numpy and nothing else besides bittygpt's core, data and training rooms.
"""

import argparse
import dataclasses
import json
import os
from pathlib import Path

from benchmark_processes import Progress, Worker, WorkerError
from benchmark_shapes import (
    MATRIX_RATE,
    NANOCHAT,
    NANOGPT,
    Shape,
    contenders_for,
    has_large_vocabulary,
    shapes_for,
)
from benchmark_table import HEADER, LEGEND, line, make_rows, summary, verdict

CHECKED_OUT = {NANOGPT: "model.py", NANOCHAT: "nanochat/gpt.py"}


def machine(device: str, peers: Path) -> dict[str, object]:
    """What the device is, from a worker: this process never imports torch."""
    worker = Worker(MATRIX_RATE, None, device, None, peers)
    try:
        worker.wait_until_ready()
        return worker.ready
    finally:
        worker.stop()


def measure(
    shape: Shape, threads: int | None, device: str, peers: Path, rounds: int, progress: Progress
) -> list[dict]:
    """All contenders on one shape: started, timed in turn, and asked for their memory."""
    found = [name for name, file in CHECKED_OUT.items() if (peers / name / file).exists()]
    where = f"{shape.name}, {f'{threads} threads' if threads else device}"
    names = [MATRIX_RATE, *contenders_for(shape, found)]
    workers: list[Worker] = []
    errors: dict[str, str] = {}
    try:
        at_once = 2 if device == "cuda" else len(names)  # a GPU may hold no more of them while they warm up
        for first in range(0, len(names), at_once):
            group = names[first : first + at_once]
            progress.say(f"{where}: {' and '.join(group)}: building, warming up")
            started = [Worker(name, shape, device, threads, peers) for name in group]
            workers += started
            for worker in started:
                attempt(worker.wait_until_ready, worker, errors)
        turns: dict[str, list[dict]] = {name: [] for name in names}
        for number in range(1, rounds + 1):
            for worker in workers:
                if worker.name not in errors:
                    progress.say(f"{where}: round {number} of {rounds}: {worker.name}")
                    turns[worker.name].append(attempt(lambda w=worker: w.ask("turn"), worker, errors))
        ends = {}
        for worker in workers[1:]:
            if worker.name not in errors:
                progress.say(f"{where}: where the time goes: {worker.name}")
                ends[worker.name] = attempt(lambda w=worker: w.ask("end"), worker, errors)
    finally:
        for worker in workers:
            worker.stop()
    if MATRIX_RATE in errors:
        raise SystemExit(f"the matrix rate cannot be measured: {errors[MATRIX_RATE]}")
    figures = {
        worker.name: summary(worker.ready, turns[worker.name], ends[worker.name])
        for worker in workers[1:]
        if worker.name not in errors
    }
    return make_rows(shape, threads, [turn["rate"] for turn in turns[MATRIX_RATE]], figures, errors)


def attempt(work, worker: Worker, errors: dict[str, str]):
    """What a worker answers; where it cannot go on, why is kept, and the others do."""
    try:
        return work()
    except WorkerError as error:
        errors[worker.name] = str(error)
        return {}


def parse() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", type=Path, help="write all figures there too")
    parser.add_argument(
        "--peers", type=Path, default=Path("peers"), help="folder with nanoGPT/ and nanochat/"
    )
    parser.add_argument("--device", default="auto")
    parser.add_argument("--shapes", nargs="+", metavar="NAME", help="only these; `tiny` is for a quick look")
    parser.add_argument("--rounds", type=int, default=5, help="how often all take their turn")
    parser.add_argument("--steps", type=int, help="steps of a turn, instead of as many as suit the shape")
    parser.add_argument("--threads", type=int, nargs="+", help="on a CPU; by default 1 and 2")
    return parser.parse_args()


def main() -> None:
    """Measure all that suits the device, and print a row as soon as it is known."""
    arguments = parse()
    progress = Progress()
    progress.say("starting")
    peers = arguments.peers.absolute()
    here = machine(arguments.device, peers)
    device = str(here["device"])
    on_cpu = device == "cpu"
    threads = (arguments.threads or sorted({1, min(2, os.cpu_count() or 1)})) if on_cpu else [None]
    report: dict = {**here, "rows": []}
    progress.print(f"{here['machine']}, {here['precision']}, torch {here['torch']}\n{HEADER}")
    for shape in shapes_for(device, arguments.shapes):
        shape = dataclasses.replace(shape, steps=arguments.steps or shape.steps)
        for count in threads[-1:] if has_large_vocabulary(shape) else threads:
            rows = measure(shape, count, device, peers, arguments.rounds, progress)
            report["rows"] += rows
            progress.print("\n".join(map(line, rows)))
            if sentence := verdict(shape, rows):
                progress.print(sentence)
            if arguments.json:  # after each shape: what is measured is not lost with what comes after
                arguments.json.parent.mkdir(parents=True, exist_ok=True)
                arguments.json.write_text(json.dumps(report, indent=2) + "\n")
    progress.print(LEGEND)


if __name__ == "__main__":
    main()
