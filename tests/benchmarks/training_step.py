"""`make bench`: how long a training step takes, part by part, how much memory, and how the peers do on the same.

    python tests/benchmarks/training_step.py [--json FILE] [--peers DIR] [--device cpu|cuda] [--shapes NAME ...]

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

from processes import Progress, Worker
from shapes import (
    MATRIX_RATE,
    NANOCHAT,
    NANOGPT,
    Shape,
    contenders_for,
    has_large_vocabulary,
    shapes_for,
)
from table import HEADER, LEGEND, line, make_rows, verdict

CHECKED_OUT = {NANOGPT: "model.py", NANOCHAT: "nanochat/gpt.py"}


def measure(
    shape: Shape, threads: int | None, rate: Worker, options: argparse.Namespace, progress: Progress
) -> list[dict]:
    """All contenders on one shape: started, timed in turn, and asked for their memory."""
    device = rate.ready["device"]
    where = f"{shape.name}, {f'{threads} threads' if threads else device}"
    found = [name for name, file in CHECKED_OUT.items() if (options.peers / name / file).exists()]
    names = contenders_for(shape, found, device, bf16_on_cpu=device == "cpu" and rate.ready["has_bf16"])
    at_once = 2 if device == "cuda" else len(names)  # a GPU may hold no more of them while they warm up
    workers: list[Worker] = []
    try:
        for first in range(0, len(names), at_once):
            group = names[first : first + at_once]
            progress.say(f"{where}: {' and '.join(group)}: building, warming up")
            started = [Worker(name, shape, device, threads, options.peers) for name in group]
            workers += started
            for worker in started:
                worker.wait_until_ready()
        for number in range(1, options.rounds + 1):
            rate.take_turn(str(threads or ""))
            for worker in workers:
                if not worker.error:
                    progress.say(f"{where}: round {number} of {options.rounds}: {worker.name}")
                    worker.take_turn()
        for worker in workers:
            if not worker.error:
                progress.say(f"{where}: where the time goes: {worker.name}")
                worker.take_stock()
    finally:
        for worker in workers:
            worker.stop()
    stop_without(rate)
    return make_rows(shape, threads, rate.turns[-options.rounds :], workers)


def stop_without(rate: Worker) -> None:
    """Say why, where not even the matrix rate can be had."""
    if rate.error:
        raise SystemExit(f"the matrix rate cannot be measured: {rate.error}")


def absolute(path: str) -> Path:
    """A path that means the same in every process."""
    return Path(path).absolute()


def parse() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", type=Path, help="write all figures there too")
    parser.add_argument(
        "--peers", type=absolute, default=absolute("peers"), help="folder with nanoGPT/ and nanochat/"
    )
    parser.add_argument("--device", default="auto")
    parser.add_argument("--shapes", nargs="+", metavar="NAME", help="only these; `tiny` is for a quick look")
    parser.add_argument("--rounds", type=int, default=5, help="how often all take their turn")
    parser.add_argument("--steps", type=int, help="steps of a turn, instead of as many as suit the shape")
    parser.add_argument("--threads", type=int, nargs="+", help="on a CPU; by default 1 and 2")
    return parser.parse_args()


def main() -> None:
    """Measure all that suits the device, and print a row as soon as it is known."""
    options = parse()
    progress = Progress()
    progress.say("starting")
    rate = Worker(MATRIX_RATE, None, options.device, None, options.peers)  # this process imports no torch
    try:
        rate.wait_until_ready()
        stop_without(rate)
        measure_all(rate, options, progress)
    finally:
        rate.stop()


def measure_all(rate: Worker, options: argparse.Namespace, progress: Progress) -> None:
    """Shape after shape."""
    here = rate.ready
    on_cpu = here["device"] == "cpu"
    threads = (options.threads or sorted({1, min(2, os.cpu_count() or 1)})) if on_cpu else [None]
    rows: list[dict] = []
    progress.print(f"{here['machine']}, {here['precision']}, torch {here['torch']}\n{HEADER}")
    for shape in shapes_for(here["device"], options.shapes):
        shape = dataclasses.replace(shape, steps=options.steps or shape.steps)
        for count in threads[-1:] if has_large_vocabulary(shape) else threads:
            new = measure(shape, count, rate, options, progress)
            rows += new
            progress.print("\n".join(map(line, new)))
            if sentence := verdict(shape, new):
                progress.print(sentence)
            if options.json:  # after each shape: what is measured is not lost with what comes after
                options.json.parent.mkdir(parents=True, exist_ok=True)
                options.json.write_text(json.dumps({**here, "rows": rows}, indent=2) + "\n")
    progress.print(LEGEND)


if __name__ == "__main__":
    main()
