"""`make torture`: kills `bittygpt tokenize` at random moments and compares what it ends with, hash for hash.

    python tests/torture.py [TEXT ...] [--kills 50] [--seed 0]

Without a text it takes 50 MB of the builtin stories. Each round tokenizes into a new folder: the command is killed
(SIGKILL, its workers are left to notice) and run again until it comes through; a killed call is stopped sooner or
later than the one before, anywhere between its start and the time that an undisturbed call takes. Not among the tests
of `make test`: it takes some minutes.
"""

import argparse
import hashlib
import json
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from bittygpt.text.builtin.stories import story

NUM_STORIES = 60_000


def stories(path: Path) -> Path:
    """About 50 MB of text."""
    path.write_text("<|endoftext|>".join(story(1, index) for index in range(NUM_STORIES)), encoding="utf-8")
    return path


def tokenize(config: Path, folder: Path, seconds: float | None = None) -> bool:
    """Run the command, for some seconds at most; whether it came through."""
    command = [sys.executable, "-m", "bittygpt", "tokenize", str(config), f"data.dir={folder}"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    try:
        message = process.communicate(timeout=seconds)[1]
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGKILL)
        process.communicate()
        return False
    if process.returncode:
        sys.exit(f"exit code {process.returncode}: {message}")
    return True


def hashes(folder: Path) -> dict[str, str]:
    """Of every file; of the manifest without the folder's own name, which it does not hold."""
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(folder.iterdir())}


def main() -> None:
    """Kill and compare."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("texts", nargs="*", type=Path)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    rng = random.Random(arguments.seed)
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        texts = arguments.texts or [stories(root / "stories.txt")]
        config = root / "c.yaml"
        sources = json.dumps([str(text.absolute()) for text in texts])
        config.write_text(
            f"data: {{train: {sources}}}\ntokenizer: {{vocab_size: 2000, train_bytes: 5000000}}\n"
        )
        start = time.monotonic()
        tokenize(config, root / "undisturbed")
        whole = time.monotonic() - start
        print(f"undisturbed: {whole:.1f} s, {sum(text.stat().st_size for text in texts):,} bytes", flush=True)
        expected, kills, rounds = hashes(root / "undisturbed"), 0, 0
        while kills < arguments.kills:
            folder, here = root / f"round-{rounds}", 0
            while not tokenize(config, folder, rng.uniform(0, whole)):
                here += 1
            if hashes(folder) != expected:
                sys.exit(f"round {rounds}: other files after {here} kills: {hashes(folder)}, not {expected}")
            kills, rounds = kills + here, rounds + 1
            print(f"round {rounds}: the same files after {here} kills ({kills} in all)", flush=True)


if __name__ == "__main__":
    main()
