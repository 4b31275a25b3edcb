"""The real command line, in a folder of its own."""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bittygpt.tokenizer.bpe_training import train_bpe
from bittygpt.tokenizer.tokenizer import Tokenizer
from tests.commands.run_at_hand import saved_run
from tests.words import count_words

CONFIG = """
data: {train: [text.txt], val_fraction: 0.1}
tokenizer: {vocab_size: 280}
model: {context_length: 16, d_model: 16, num_layers: 1, num_heads: 2, d_ff: 32}
optim: {lr: 1e-2, warmup_steps: 2}
train: {batch_size: 4, max_steps: 12, eval_every: 6, save_every: 4, keep: 2, log_every: 1, device: cpu}
sample: {prompt: the, max_tokens: 12}
"""
SPECIAL = ["<|endoftext|>"]
OWLS = "The owl said hello to the fox, and the foxes didn't say a thing to the owls at all. " * 10
STORY = "The owl said hello to the fox, and the fox said nothing to the owl at all.\n"


class CommandLine:
    """Runs `python -m bittygpt` in a folder that holds tiny.yaml and text.txt."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.environment = {
            **os.environ,
            "OMP_NUM_THREADS": "1",
            "COLUMNS": "100",
            "TERM": "xterm",
            "PYTHONWARNINGS": "default",
        }
        (folder / "tiny.yaml").write_text(CONFIG)
        (folder / "text.txt").write_text(
            "<|endoftext|>".join(STORY.replace("owl", f"owl {i}") for i in range(60))
        )

    def __call__(self, *arguments: str, code: int = 0, stdin: str = "") -> subprocess.CompletedProcess[str]:
        """Run to the end; the exit code must be `code`, and no traceback may show."""
        done = self.run(sys.executable, "-m", "bittygpt", *arguments, stdin=stdin)
        assert done.returncode == code, done.stderr
        assert "Traceback" not in done.stderr
        assert "\x1b" not in done.stdout + done.stderr, "cursor moves or colours in a pipe"
        return done

    def run(self, *command: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
        """Any command, in the folder, to its end."""
        return subprocess.run(
            command,
            cwd=self.folder,
            env=self.environment,
            input=stdin,
            capture_output=True,
            text=True,
            check=False,
        )

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """Run in the background."""
        command = [sys.executable, "-m", "bittygpt", *arguments]
        return subprocess.Popen(
            command,
            cwd=self.folder,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def unread(self, *arguments: str) -> tuple[int, str]:
        """The exit code where nobody reads stdout, as before `| head -c 0`, and stderr."""
        process = self.start(*arguments)
        process.stdout.close()
        with process.stderr:
            said = process.stderr.read()
        return process.wait(timeout=60), said

    def stop_when(
        self, path: str, process: subprocess.Popen[str], number: signal.Signals, timeout: float = 60
    ) -> str:
        """Send a signal as soon as a file is there (and not empty); gives stderr back."""
        self.wait_for(path, process, timeout)
        process.send_signal(number)
        return process.communicate(timeout=timeout)[1]

    def wait_for(self, path: str, process: subprocess.Popen[str], timeout: float = 60) -> None:
        """Until a file that fits the pattern is there (and not empty) that the process makes."""
        deadline = time.monotonic() + timeout
        while not any(found.is_dir() or found.stat().st_size for found in self.folder.glob(path)):
            assert time.monotonic() < deadline, f"{path} did not appear"
            assert process.poll() is None, process.communicate()
            time.sleep(0.005)

    def events(self, name: str = "tiny") -> list[dict[str, Any]]:
        """Of the metrics.jsonl of a run."""
        text = (self.folder / f"runs/{name}/metrics.jsonl").read_text()
        return [json.loads(line) for line in text.splitlines()]


@pytest.fixture(scope="session")
def command_line() -> type[CommandLine]:
    """For tests that share a folder."""
    return CommandLine


@pytest.fixture
def bittygpt(tmp_path: Path) -> CommandLine:
    return CommandLine(tmp_path)


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> CommandLine:
    """A folder with a finished run, `runs/tiny`; tests must leave it as it is."""
    line = CommandLine(tmp_path_factory.mktemp("trained"))
    line("train", "tiny.yaml")
    return line


@pytest.fixture(scope="session")
def tokenizer() -> Tokenizer:
    """A vocabulary with a few merges."""
    return Tokenizer(train_bpe(count_words([OWLS], SPECIAL), 300, SPECIAL), SPECIAL)


@pytest.fixture(scope="session")
def save_run() -> Callable[..., Path]:
    """A function that saves a run with one checkpoint: into which folder, with which tokenizer, of which shape."""
    return saved_run


@pytest.fixture
def run(tmp_path, tokenizer, monkeypatch, save_run) -> Path:
    """A run with one checkpoint, in the working folder."""
    monkeypatch.chdir(tmp_path)
    return save_run(tmp_path, tokenizer)


@pytest.fixture
def small_disk(bittygpt):
    """`runs` lies on a file system of 4 MB; only root may make one.

    It is mounted outside of pytest's own folders, which another session could not remove if this one were killed.
    """
    disk = Path(tempfile.mkdtemp(prefix="bittygpt-disk-"))
    mount = shutil.which("mount")
    options = ["-t", "tmpfs", "-o", "size=4m", "tmpfs", str(disk)]
    try:
        if mount is None or subprocess.run([mount, *options], capture_output=True, check=False).returncode:
            pytest.skip("no file system can be mounted here")
        (bittygpt.folder / "runs").symlink_to(disk)
        yield disk
        subprocess.run(["umount", "-l", str(disk)], check=True)
    finally:
        disk.rmdir()
