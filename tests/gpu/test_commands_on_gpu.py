"""On a CUDA device: the command line as a user calls it. Needs all that bittygpt needs."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

pytest.importorskip("pydantic", reason="the packages that commands need are not installed")
pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")]
CONFIG = Path(__file__).resolve().parents[2] / "configs" / "shakespeare-gpu.yaml"


def bittygpt(folder, *arguments):
    """stdout of a call that ends well."""
    command = [sys.executable, "-m", "bittygpt", *arguments]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture
def text(tmp_path):
    """Two megabytes of letters, from which some can be learned."""
    (tmp_path / "text.txt").write_text(
        "".join(f"{n} times {n} is {n * n}, and so on.\n" for n in range(50_000))
    )
    return f"data.train=[{tmp_path}/text.txt]"


@pytest.mark.parametrize(
    "changes", [[], ["model.qk_norm=false", "train.compile=true"]], ids=["as it is", "compiled"]
)
def test_a_check_finds_nothing_broken(tmp_path, text, changes):
    bittygpt(tmp_path, "train", str(CONFIG), text, *changes, "--check")


def test_a_run_is_what_its_plan_says(tmp_path, text):
    """But for its speed, which is measured elsewhere; and its steps are captured, or a warning would say why not."""
    arguments = ["train", str(CONFIG), text, "train.max_steps=40", "optim.warmup_steps=4", "--json"]
    plan = json.loads(bittygpt(tmp_path, *arguments, "--plan"))
    command = [sys.executable, "-W", "error::UserWarning", "-m", "bittygpt", *arguments]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    steps = [event for event in map(json.loads, done.stdout.splitlines()) if event["event"] == "step"]
    assert steps[-1]["memory_gb"] == pytest.approx(plan["memory"]["peak"] / 1e9, rel=0.1)
