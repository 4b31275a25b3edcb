"""`make bench` still runs: a benchmark that breaks is noticed by no one until its figures are needed."""

import json
import subprocess
import sys
from pathlib import Path

BENCHMARK = Path(__file__).parent / "benchmarks" / "training_step.py"


def test_every_contender_gets_a_row_with_all_figures(tmp_path: Path) -> None:
    written = tmp_path / "bench" / "bench.json"
    command = [sys.executable, BENCHMARK, "--shapes", "tiny", "--device", "cpu", "--threads", "1"]
    options = ["--steps", "1", "--rounds", "1", "--peers", tmp_path / "none", "--json", written]
    done = subprocess.run([*command, *options], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    report = json.loads(written.read_text())
    bf16 = ["bittygpt, bf16"] if report["has_bf16"] else []
    ours = ["bittygpt", "bittygpt, CC=none", *bf16, "bittygpt, Muon"]
    assert [row["contender"] for row in report["rows"]] == ours
    assert report["rows"][1]["against"] == "bittygpt"
    assert "bittygpt, Muon" in done.stdout
    for row in report["rows"]:
        parts = [row[f"{part}_ms"] for part in ("forward", "backward", "clip", "optimizer")]
        shares = [row[f"share_{of}"] for of in ("of_matrix_rate", "in_products", "in_attention")]
        assert min(*parts, row["step_ms"], row["tokens_per_second"], *shares) > 0
        assert row["products_ms"] + row["attention_ms"] < row["profiled_step_ms"]
        assert row["parameters"] > 0
        assert row["peak_memory_gb"] > row["imports_gb"] > row["state_gb"] > 0


def test_generation_is_measured_beside_transformers(tmp_path: Path) -> None:
    written = tmp_path / "generation.json"
    command = [sys.executable, BENCHMARK.with_name("generation.py"), "--rounds", "1", "--tokens", "16"]
    done = subprocess.run(
        [*command, "--threads", "1", "--json", written], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    (row,) = json.loads(written.read_text())["rows"]
    for name in ("one", "batch"):
        assert row[name]["tokens_per_second"] > 0
        assert row[name]["generate_tokens_per_second"] > 0
        assert len(row[name]["ratios"]) == 1
    assert row["late"]["ratio"] > 0
    assert row["late"]["peak_memory_grown_mb"] < 1
    assert done.stdout.count("\n") == 4
