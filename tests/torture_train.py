"""`make torture-train`: kill and stop `bittygpt train` at random moments, and damage its checkpoints.

    python tests/torture_train.py [TEXT] [--kills 100] [--stops 50] [--seed 0] [--compile]

Without a text it takes some builtin stories. Three parts:

1. kills: a run is killed (SIGKILL) and started again until it comes through, in as many rounds as it takes. Each
   round must end with the losses, batch hashes, validations and final files of the run that nothing stopped.
2. stops: SIGTERM at moments spread over the whole of a run, start-up, evaluations and saves included. Each must be
   answered with exit code 75 and a checkpoint of the last step that was logged, and the run that goes on from all of
   them must be the undisturbed one.
3. damage: every file of the newest checkpoint cut short, emptied, flipped in one bit and removed, in turn. Each must
   be named, and the checkpoint before it taken.

Not among the tests of `make test`: it takes some minutes. With --compile the model is compiled, so that signals also
meet the compiler (and the whole takes an hour).
"""

import argparse
import json
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from bittygpt.text.builtin.stories import story
from bittygpt.training.checkpoints.checkpoint_folder import FILES, MANIFEST, find_fault
from bittygpt.training.checkpoints.run_folder import HISTORY

CONFIG = """
tokenizer: {vocab_size: 512}
model: {context_length: 64, d_model: 64, num_layers: 2, num_heads: 4}
optim: {lr: 3e-3, warmup_steps: 5}
train: {batch_size: 8, max_steps: 400, eval_every: 25, eval_tokens: 8192, save_every: 20, keep: 2, log_every: 1,
        device: cpu}
"""
STEPS = 400


class Run:
    """A run that is started again and again."""

    def __init__(self, root: Path, name: str, more: list[str]) -> None:
        self.root, self.name, self.more = root, name, more
        self.folder = root / "runs" / name

    def start(self) -> subprocess.Popen[str]:
        """The command, in the background."""
        command = [sys.executable, "-m", "bittygpt", "train", "c.yaml", f"run.name={self.name}", *self.more]
        return subprocess.Popen(
            command, cwd=self.root, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
        )

    def send_after(self, seconds: float, number: signal.Signals) -> tuple[int, str]:
        """Run for some seconds at most, then send the signal; exit code and stderr."""
        process = self.start()
        try:
            return process.returncode or 0, process.communicate(timeout=seconds)[1]
        except subprocess.TimeoutExpired:
            process.send_signal(number)
            said = process.communicate()[1]
            return process.returncode, said

    def finish(self) -> str:
        """Run to the end; stderr."""
        process = self.start()
        said = process.communicate()[1]
        if process.returncode:
            sys.exit(f"exit code {process.returncode}: {said}")
        return said

    def events(self) -> list[dict]:
        """Of metrics.jsonl."""
        path = self.folder / "metrics.jsonl"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    def result(self) -> tuple:
        """All that may not depend on the clock."""
        fixed = ("event", "step", "loss", "grad_norm", "lr", "batch_hash", "val_loss", "val_bpb")
        happened = [event for event in self.events() if event["event"] not in HISTORY]
        events = [{key: event[key] for key in fixed if key in event} for event in happened]
        last = self.folder / f"checkpoints/step-{STEPS:08d}"
        return events, *((last / f"{name}.safetensors").read_bytes() for name in ("model", "optimizer"))


def demand(condition: bool, message: str) -> None:
    """End with the message unless it is so."""
    if not condition:
        sys.exit(message)


def kill(root: Path, more: list[str], expected: tuple, whole: float, kills: int, rng: random.Random) -> None:
    """Part 1."""
    done = rounds = 0
    while done < kills:
        run, here, code = Run(root, f"killed-{rounds}", more), 0, -signal.SIGKILL
        while code == -signal.SIGKILL and done + here < kills:
            code, said = run.send_after(rng.uniform(0, whole), signal.SIGKILL)
            here += code == -signal.SIGKILL
        demand(code in (0, -signal.SIGKILL), f"exit code {code}: {said}" if code else "")
        run.finish()
        demand(
            run.result() == expected, f"round {rounds}: another result after {here} kills; see {run.folder}"
        )
        done, rounds = done + here, rounds + 1
        print(f"kills, round {rounds}: the same result after {here} kills ({done} in all)", flush=True)


def stop(root: Path, more: list[str], expected: tuple, whole: float, stops: int, rng: random.Random) -> None:
    """Part 2."""
    done, before_start, codes = 0, 0, {}
    while done < stops:
        run = Run(root, f"stopped-{done}", more)
        while done < stops:
            code, said = run.send_after(whole * rng.uniform(0.02, 1), signal.SIGTERM)
            codes[code] = codes.get(code, 0) + 1
            if code == 0:
                break  # it came through
            if code == -signal.SIGTERM:  # Python itself was not yet up
                before_start += 1
                continue
            demand(code == 75, f"exit code {code} after SIGTERM: {said}")
            steps = [event["step"] for event in run.events() if event["event"] == "step"]
            if steps:
                checkpoint = run.folder / f"checkpoints/step-{steps[-1]:08d}"
                demand(find_fault(checkpoint) is None, f"{checkpoint}: {find_fault(checkpoint)}; {said}")
            done += 1
        run.finish()
        demand(run.result() == expected, f"another result after SIGTERM; see {run.folder}")
        print(f"stops: {done}, exit codes so far {codes}; the run that went on is the same", flush=True)
    print(f"{before_start} came before Python was up and are not counted", flush=True)


def damage(root: Path, more: list[str], expected: tuple, source: Path) -> None:
    """Part 3."""
    kinds = {
        "cut short": lambda path: path.write_bytes(path.read_bytes()[:-1]),
        "emptied": lambda path: path.write_bytes(b""),
        "flipped in one bit": lambda path: path.write_bytes(
            bytes([(data := path.read_bytes())[0]]) + bytes([data[1] ^ 4]) + data[2:]
        ),
        "removed": Path.unlink,
    }
    for name in (*FILES, MANIFEST):
        for kind, change in kinds.items():
            run = Run(root, "damaged", more)
            shutil.rmtree(run.folder, ignore_errors=True)
            shutil.copytree(source, run.folder)
            change(run.folder / f"checkpoints/step-{STEPS:08d}/{name}")
            said = run.finish()
            demand(f"step-{STEPS:08d}: " in said and name in said, f"{name} {kind} was not named: {said}")
            demand(f"going on after step {STEPS - 20}" in said, f"{name} {kind}: {said}")
            demand(run.result() == expected, f"another result after {name} was {kind}")
        print(f"damage: {name} {', '.join(kinds)}: named each time, and the one before taken", flush=True)


def main() -> None:
    """All three."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("text", nargs="?", type=Path)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--stops", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--compile", action="store_true")
    arguments = parser.parse_args()
    rng = random.Random(arguments.seed)
    more = [f"train.compile={str(arguments.compile).lower()}", "data.dir=tokens"]
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        text = arguments.text or root / "stories.txt"
        if arguments.text is None:
            text.write_text("<|endoftext|>".join(story(1, n) for n in range(500)), encoding="utf-8")
        (root / "c.yaml").write_text(f"data: {{train: [{json.dumps(str(text.absolute()))}]}}\n{CONFIG}")
        undisturbed = Run(root, "undisturbed", more)
        undisturbed.finish()  # makes the tokens, which the others then find
        expected, times = undisturbed.result(), []
        for _ in range(2):
            shutil.rmtree(undisturbed.folder)
            start = time.monotonic()
            undisturbed.finish()
            times.append(time.monotonic() - start)
            demand(undisturbed.result() == expected, "two undisturbed runs differ")
        whole = min(times)
        print(f"undisturbed: {whole:.1f} s for {STEPS} steps", flush=True)
        damage(root, more, expected, undisturbed.folder)
        stop(root, more, expected, whole, arguments.stops, rng)
        kill(root, more, expected, whole, arguments.kills, rng)


if __name__ == "__main__":
    main()
