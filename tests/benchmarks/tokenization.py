"""`make bench-tokens`: how long `bittygpt tokenize` takes beside bitty-tokenizer, tokenizers and tiktoken.

    python tests/benchmarks/tokenization.py TEXT [--small FILE] [--runs 3]

TEXT is a text of 50 MB or more, FILE one of about a megabyte (without it, the first megabyte of TEXT). All times of
bittygpt are those of the whole process, from the command to its end, the data report included; tiktoken's is that of
its bare `encode_ordinary` in one thread, document by document, over the same vocabulary. Runs are taken in turn and
the fastest of each counts, as the machine may be shared. Memory is that of all processes together (Pss of /proc).
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

END = "<|endoftext|>"
BITTY = """
import sys, bitty
if __name__ == "__main__":
    bitty.Tokenizer(dataset_path=sys.argv[1], save_path="v.json", special_tokens=[b"<|endoftext|>"], num_merges=743)
"""
TOKENIZERS = """
import sys, tokenizers as t
tokenizer = t.Tokenizer(t.models.BPE())
tokenizer.pre_tokenizer = t.pre_tokenizers.ByteLevel(add_prefix_space=False)
trainer = t.trainers.BpeTrainer(vocab_size=10_000, special_tokens=["<|endoftext|>"], show_progress=False,
                                initial_alphabet=t.pre_tokenizers.ByteLevel.alphabet())
tokenizer.train([sys.argv[1]], trainer)
"""
TIKTOKEN = """
import sys, time, tiktoken
from bittygpt.tokenizer.tokenizer import Tokenizer
from bittygpt.tokenizer.pretokenization import GPT_2_PATTERN
ranks = {token: i for i, token in enumerate(Tokenizer.load(sys.argv[2]).vocabulary) if i}
encoding = tiktoken.Encoding("x", pat_str=GPT_2_PATTERN, mergeable_ranks=ranks, special_tokens={})
documents = open(sys.argv[1], "rb").read().decode().split("<|endoftext|>")
start = time.perf_counter()
for document in documents:
    encoding.encode_ordinary(document)
print(time.perf_counter() - start)
"""


def run(command: list[str], cores: int = 0) -> float:
    """Seconds of a whole process, on its first `cores` cores alone if any are given."""
    allowed = sorted(os.sched_getaffinity(0))[: cores or None]
    # Where this is set, modules are compiled at every start; what pip installs is compiled once.
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}
    start = time.perf_counter()
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        check=False,
        env=environment,
        preexec_fn=lambda: os.sched_setaffinity(0, allowed),
    )
    if done.returncode:
        sys.exit(f"{' '.join(command)}: {done.stderr}")
    return time.perf_counter() - start


def tokenize(text: Path, *overrides: str) -> list[str]:
    """The command, for a folder that is not there yet."""
    shutil.rmtree("tokens", ignore_errors=True)
    Path("c.yaml").write_text(f"data: {{train: [{text}], dir: tokens}}\n")
    return [sys.executable, "-m", "bittygpt", "tokenize", "c.yaml", *overrides]


def fastest(runs: int, **ways: Callable[[], float]) -> dict[str, float]:
    """The shortest time of each way, taken in turn."""
    times = [{name: way() for name, way in ways.items()} for _ in range(runs)]
    return {name: min(each[name] for each in times) for name in ways}


def peak_memory(command: list[str]) -> float:
    """The most megabytes that a command and its children held together."""
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    peak = 0
    done = threading.Event()
    threading.Thread(target=lambda: (process.wait(), done.set()), daemon=True).start()
    while not done.wait(0.02):  # a run of seconds has peaks of tenths
        peak = max(peak, sum(map(pss, family(process.pid))))
    return peak / 1024


def family(pid: int) -> list[int]:
    """A process and all that come from it."""
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        return []
    return [pid, *(member for child in children for member in family(int(child)))]


def pss(pid: int) -> int:
    """Kilobytes of a process, pages that it shares counted in part."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0
    return sum(int(line.split()[1]) for line in lines if line.startswith("Pss:"))


def beginning(text: Path, size: int, name: str) -> Path:
    """The documents in the first `size` bytes of a text."""
    with open(text, "rb") as file:
        data = file.read(size)
    cut = data.rfind(END.encode())
    Path(name).write_bytes(data[:cut] if cut > 0 else data)
    return Path(name)


def main() -> None:
    """Measure, and print a line a figure."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("text", type=Path)
    parser.add_argument("--small", type=Path)
    parser.add_argument("--runs", type=int, default=3)
    arguments = parser.parse_args()
    text = arguments.text.absolute()
    small = arguments.small.absolute() if arguments.small else None
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        small = small or beginning(text, 1 << 20, "small.txt")
        for name, script in (
            ("with_bitty.py", BITTY),
            ("with_tokenizers.py", TOKENIZERS),
            ("with_tiktoken.py", TIKTOKEN),
        ):
            Path(name).write_text(script)
        measure(text, small, arguments.runs)


def measure(text: Path, small: Path, runs: int) -> None:
    """All figures."""
    ours = min(run(tokenize(small, "tokenizer.vocab_size=1000")) for _ in range(runs))
    bitty = run([sys.executable, "with_bitty.py", str(small)])
    print(
        f"vocabulary of 1,000: {ours:.2f} s, bitty-tokenizer {bitty:.1f} s: {bitty / ours:.1f} times as fast",
        flush=True,
    )
    best = fastest(
        runs,
        ours=lambda: run(tokenize(small, "tokenizer.vocab_size=10000")),
        theirs=lambda: run([sys.executable, "with_tokenizers.py", str(small)]),
    )
    print(f"vocabulary of 10,000: {best['ours']:.2f} s, tokenizers {best['theirs']:.2f} s: "
          f"{best['ours'] / best['theirs']:.2f} of its time", flush=True)  # fmt: skip
    run(tokenize(text, "tokenizer.vocab_size=10000"))
    shutil.copy("tokens/vocab.json", "vocab.json")
    given = "tokenizer.vocab=vocab.json"

    def tiktoken() -> float:
        command = [sys.executable, "with_tiktoken.py", str(text), "vocab.json"]
        return float(subprocess.run(command, capture_output=True, text=True, check=True).stdout)

    best = fastest(
        runs,
        all=lambda: run(tokenize(text, given)),
        one=lambda: run(tokenize(text, given), cores=1),
        tiktoken=tiktoken,
    )
    size, cores = text.stat().st_size / 1e6, len(os.sched_getaffinity(0))
    print(f"{size:,.0f} MB, given vocabulary: {best['all']:.2f} s on {cores} cores ({size / best['all']:.1f} MB/s), "
          f"{best['one']:.2f} s on one: {best['one'] / best['all']:.2f} times; tiktoken {best['tiktoken']:.2f} s: "
          f"{best['tiktoken'] / best['all']:.2f} times as fast", flush=True)  # fmt: skip
    for megabytes in (100, 1000):
        if size >= 0.9 * megabytes:
            part = beginning(text, megabytes * 10**6, "part.txt").absolute()
            print(
                f"{megabytes:,} MB: at most {peak_memory(tokenize(part, given)):.0f} MB of memory", flush=True
            )


if __name__ == "__main__":
    main()
