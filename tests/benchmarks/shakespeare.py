"""`make bench-shakespeare`: `bittygpt train` beside nanoGPT's own recipe on Shakespeare, whole processes in turn.

    python tests/benchmarks/shakespeare.py --text tinyshakespeare.txt [--peers DIR] [--device cpu|cuda] [--rounds N]

Ours is `configs/shakespeare.yaml` (on CUDA `configs/shakespeare-gpu.yaml`) in an empty folder: its time has the
tokenizing in it. nanoGPT's is the recipe of its README for this device, in a copy of its checkout; its data is
prepared before the clock starts. They take turns. Both losses are over the whole validation split, the last tenth of
the text, letter by letter: ours is the last evaluation of the run, nanoGPT's checkpoint is evaluated here afterwards.
"""

import argparse
import contextlib
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

from processes import Progress

REPOSITORY = Path(__file__).resolve().parents[2]
EVALUATE = REPOSITORY / "tests" / "benchmarks" / "nanogpt_loss.py"
CONFIGS = {"cpu": "shakespeare", "cuda": "shakespeare-gpu"}
# nanoGPT's README, "I only have a macbook"; on a GPU the recipe is the config file alone
CPU_RECIPE = [
    *("--device=cpu", "--compile=False", "--eval_iters=20", "--log_interval=100", "--block_size=64"),
    *("--batch_size=12", "--n_layer=4", "--n_head=4", "--n_embd=128"),
    *("--max_iters=2000", "--lr_decay_iters=2000", "--dropout=0.0"),
]
TARGETS = {"cpu": 1.88, "cuda": 1.4697}  # validation losses that nanoGPT's README has for these recipes
VAL_LOSS = re.compile(r"^step.* val loss ([0-9.]+)", re.MULTILINE)  # as both sides say it
RECIPES = {"cpu": CPU_RECIPE, "cuda": ["--device=cuda"]}


def run(
    name: str, command: list[str], folder: Path, progress: Progress, losses: re.Pattern[str] | None = None
) -> tuple[float, list[tuple[float, float]]]:
    """Seconds of a whole process, what it says last shown meanwhile. Ends the benchmark if it fails.

    And, where a pattern for them is given, the validation losses that it says, with the second at which it does.
    """
    seen: list[tuple[float, float]] = []
    paths = os.pathsep.join(filter(None, [str(REPOSITORY), os.environ.get("PYTHONPATH")]))
    environment = {**os.environ, "PYTHONPATH": paths, "PYTHONUNBUFFERED": "1"}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)  # where it is set, modules are compiled at every start
    log = folder / "log.txt"
    with open(log, "w") as file:
        start = time.perf_counter()
        process = subprocess.Popen(
            command, cwd=folder, env=environment, stdout=file, stderr=subprocess.STDOUT
        )
        try:
            shown = start
            while process.poll() is None:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(timeout=0.2)
                now = time.perf_counter()
                if losses is not None:
                    said = losses.findall(log.read_text(errors="replace"))
                    seen += [(now - start, float(loss)) for loss in said[len(seen) :]]
                if now > shown + 10:
                    progress.say(f"{name}: {last_line(log)}")
                    shown = now
        finally:
            process.kill()
        seconds = time.perf_counter() - start
    if process.returncode:
        sys.exit(f"{name} ended with {process.returncode}:\n{log.read_text(errors='replace')[-2000:]}")
    return seconds, seen


def seconds_to(target: float, seen: list[tuple[float, float]]) -> float | None:
    """When a validation loss of at most `target` was first said; None: never."""
    return next((seconds for seconds, loss in seen if loss <= target), None)


def last_line(log: Path) -> str:
    """What a process said last, as far as a line of the terminal goes."""
    lines = log.read_text(errors="replace").replace("\r", "\n").strip().splitlines()
    return lines[-1][:80] if lines else ""


def ours(text: Path, folder: Path, device: str, progress: Progress) -> dict:
    """A run from the text to the last evaluation."""
    config = REPOSITORY / "configs" / f"{CONFIGS[device]}.yaml"
    overrides = [f"data.train=[{text}]", f"train.device={device}"]
    command = [sys.executable, "-m", "bittygpt", "train", str(config), *overrides]
    seconds, seen = run("bittygpt", command, folder, progress, VAL_LOSS)
    run_folder = folder / "runs" / CONFIGS[device]
    events = [json.loads(line) for line in (run_folder / "metrics.jsonl").read_text().splitlines()]
    evaluation = [event for event in events if event["event"] == "eval"][-1]
    step = [event for event in events if event["event"] == "step"][-1]
    if (
        evaluation["step"] != step["step"]
        or "eval_tokens: null" not in (run_folder / "config.yaml").read_text()
    ):
        sys.exit("the last evaluation is not one of the whole split after the last step")
    manifest = json.loads(next(folder.glob("data/*/manifest.json")).read_text())
    weights = sorted(run_folder.glob("checkpoints/*/model.safetensors"))[-1]
    return {
        "seconds": seconds,
        "loss": evaluation["val_loss"],
        "targets": manifest["splits"]["val"]["tokens"] - 1,
        "parameters": parameters_in(weights),
        "tokens": step["tokens"],
        "val_losses": seen,
        "seconds_to_target": seconds_to(TARGETS[device], seen),
    }


def parameters_in(safetensors: Path) -> int:
    """How many numbers a file of weights holds, by the table at its beginning."""
    with open(safetensors, "rb") as file:
        header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
    sizes = (
        end - start for start, end in (v["data_offsets"] for k, v in header.items() if k != "__metadata__")
    )
    return sum(sizes) // 4


def prepare(checkout: Path, text: Path, folder: Path, progress: Progress) -> None:
    """A copy of nanoGPT with the text in its place, made into tokens by its own script."""
    shutil.copytree(checkout, folder, ignore=shutil.ignore_patterns(".git", "assets", "*.bin", "meta.pkl"))
    data = folder / "data" / "shakespeare_char"
    shutil.copy(text, data / "input.txt")
    if importlib.util.find_spec("requests") is None:
        (data / "requests.py").touch()  # it imports what downloads the text, and has the text
    run("nanoGPT: preparing", [sys.executable, "data/shakespeare_char/prepare.py"], folder, progress)


def nanogpt(folder: Path, device: str, progress: Progress) -> dict:
    """Its recipe, and then its checkpoint over the whole split."""
    checkpoint = folder / "out-shakespeare-char" / "ckpt.pt"
    checkpoint.unlink(missing_ok=True)
    command = [sys.executable, "train.py", "config/train_shakespeare_char.py", *RECIPES[device]]
    seconds, seen = run("nanoGPT", command, folder, progress, VAL_LOSS)
    progress.say("nanoGPT: evaluating its checkpoint over the whole split")
    evaluate = [sys.executable, str(EVALUATE), str(folder), str(checkpoint), "--device", device]
    done = subprocess.run(evaluate, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"nanoGPT's checkpoint cannot be evaluated:\n{done.stderr}")
    reached = seconds_to(TARGETS[device], seen)
    return {"seconds": seconds, **json.loads(done.stdout), "val_losses": seen, "seconds_to_target": reached}


def table(results: dict[str, list[dict]], target: float) -> list[str]:
    """A line for each side, medians of the rounds, and two for the ratios."""
    lines = [f"{'':10}{'seconds':>9}{'loss':>9}{'parameters':>12}{'tokens seen':>13}{'targets':>10}"]
    for name, rounds in results.items():
        seconds, loss = (median(each[key] for each in rounds) for key in ("seconds", "loss"))
        one = rounds[0]
        lines.append(
            f"{name:10}{seconds:9.1f}{loss:9.4f}{one['parameters']:12,}{one['tokens']:13,}{one['targets']:10,}"
        )
    if len(results) == 2:
        times = [
            a / b for a, b in zip(*([each["seconds"] for each in r] for r in results.values()), strict=True)
        ]
        lines.append(
            f"bittygpt takes {median(times):.2f} of nanoGPT's time "
            f"({min(times):.2f} to {max(times):.2f} in {len(times)} rounds)"
        )
    for name, rounds in results.items():
        reached = [each["seconds_to_target"] for each in rounds if each["seconds_to_target"] is not None]
        when = f"after {median(reached):.1f} s of the process" if reached else "never"
        lines.append(f"{name} says a validation loss of at most {target}: {when}")
    return lines


def best_device() -> str:
    """That of PyTorch, asked in a process of its own: this one stays small."""
    code = "import torch; print('cuda' if torch.cuda.is_available() else 'cpu')"
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout.strip()


def parse() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--text", type=Path, default=Path("data/tinyshakespeare.txt"))
    parser.add_argument("--peers", type=Path, default=Path("peers"), help="folder with nanoGPT/")
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--ours-only", action="store_true")
    parser.add_argument("--json", type=Path, help="write all figures there too")
    return parser.parse_args()


def main() -> None:
    """Take turns, then print."""
    arguments = parse()
    text, checkout, device = (
        arguments.text.absolute(),
        arguments.peers.absolute() / "nanoGPT",
        best_device() if arguments.device == "auto" else arguments.device,
    )
    config = REPOSITORY / "configs" / f"{CONFIGS[device]}.yaml"
    for needed in (text, config):
        if not needed.exists():
            sys.exit(f"{needed} is not there")
    alone = arguments.ours_only or not (checkout / "train.py").exists()
    if alone and not arguments.ours_only:
        print(f"nanoGPT is not checked out in {checkout}: bittygpt alone", file=sys.stderr)
    progress = Progress()
    results: dict[str, list[dict]] = {"bittygpt": []} if alone else {"bittygpt": [], "nanoGPT": []}
    with tempfile.TemporaryDirectory() as name:
        if not alone:
            prepare(checkout, text, Path(name) / "nanoGPT", progress)
        for number in range(arguments.rounds):
            progress.say(f"round {number + 1} of {arguments.rounds}")
            empty = Path(name) / f"bittygpt-{number}"
            empty.mkdir()
            results["bittygpt"].append(ours(text, empty, device, progress))
            if not alone:
                results["nanoGPT"].append(nanogpt(Path(name) / "nanoGPT", device, progress))
    progress.print("\n".join(table(results, TARGETS[device])))
    if arguments.json:
        arguments.json.parent.mkdir(parents=True, exist_ok=True)
        arguments.json.write_text(json.dumps({"device": device, **results}, indent=2) + "\n")


if __name__ == "__main__":
    main()
