"""Traffic and time of an exchange, against cases worked out by hand."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from bittygpt.planning.network import (
    all_gather_bytes,
    all_reduce_bytes,
    ddp_time,
    ddp_traffic,
    fsdp_time,
    fsdp_traffic,
)


def ring(chunks: list[list[int]]) -> tuple[int, list[list[int]]]:
    """A ring that sums, then gathers: the most that a device sends (in chunks), and what each holds at the end."""
    n = len(chunks)
    sent = [0] * n
    for turn in range(n - 1):
        moved = [chunks[i][(i - turn) % n] for i in range(n)]
        for i in range(n):
            chunks[(i + 1) % n][(i - turn) % n] += moved[i]
            sent[i] += 1
    for turn in range(n - 1):
        moved = [chunks[i][(i + 1 - turn) % n] for i in range(n)]
        for i in range(n):
            chunks[(i + 1) % n][(i + 1 - turn) % n] = moved[i]
            sent[i] += 1
    return max(sent), chunks


@pytest.mark.parametrize("n", [1, 2, 3, 8])
def test_a_ring_sends_what_the_formula_says(n):
    sent, held = ring([[10 * i + j for j in range(n)] for i in range(n)])
    assert all(row == held[0] == [sum(10 * i + j for i in range(n)) for j in range(n)] for row in held)
    assert all_reduce_bytes(n, n) == sent  # of n chunks of one byte
    assert all_gather_bytes(n, n) == sent / 2


def test_traffic_of_a_step():
    assert ddp_traffic(800, 4) == 1200
    assert ddp_traffic(800, 1) == 0
    # 4 ranks, 3 micro-batches: each gathers 2 x 400 of layers and 100 around; 500 of gradients once; 3/4 of all
    assert fsdp_traffic(400, 100, 500, 4, 3) == 0.75 * (3 * 900 + 500)


def test_ddp_hides_the_exchange_behind_the_last_backward_pass_alone():
    time = ddp_time(micro_batch=3.0, micro_batches=4, update=0.5, traffic=1000, rate=100.0)
    assert (time.compute, time.exchange, time.exposed, time.step) == (12.0, 10.0, 8.0, 20.5)
    assert ddp_time(15.0, 1, 0.0, 1000, 100.0).exposed == 0.0


def test_fsdp_takes_the_slower_of_computing_and_gathering():
    assert fsdp_time(3.0, 2, 0.5, 1000, 100.0).step == 10.5
    assert fsdp_time(3.0, 4, 0.5, 1000, 100.0).step == 12.5


def test_fsdp_sends_what_the_formula_says():
    """PyTorch's own engine, its exchanges counted among four ranks of which one is there."""
    script = Path(__file__).with_name("fsdp_traffic.py")
    done = subprocess.run([sys.executable, script, "4", "3"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    seen = json.loads(done.stdout)
    weights = seen["layers"] + seen["around"]
    sent = all_gather_bytes(seen["allgather_base"], 4) + all_gather_bytes(seen["reduce_scatter_base"], 4)
    assert fsdp_traffic(seen["layers"], seen["around"], weights, 4, 3) == sent
