"""`train.compile: auto`: a long run is compiled for, a short one is over before the compiler would be."""

import pytest
import torch

from bittygpt.core import ModelConfig, TransformerLM
from bittygpt.training.devices.compiling import compiling_pays
from bittygpt.training.devices.device import Device

CUDA = Device(torch.device("cuda", 0), "bf16", name="NVIDIA H100 80GB HBM3")  # one that need not be there
CPU = Device(torch.device("cpu"), "fp32")
SMALL = ModelConfig(65, 256, 384, 6, 6)
GPT2 = ModelConfig(50_257, 1024, 768, 12, 12, d_ff=2048, tie_embeddings=True)


def pays(config, device, **run):
    with torch.device("meta"):
        model = TransformerLM(config)
    return compiling_pays(model, device, **run)


@pytest.mark.parametrize(
    ("config", "run", "expected"),
    [
        (SMALL, {"steps": 500, "sequences": 64, "micro_batch_size": 64}, False),
        (SMALL, {"steps": 100_000, "sequences": 64, "micro_batch_size": 64}, True),
        (GPT2, {"steps": 19_074, "sequences": 512, "micro_batch_size": 16}, True),
        (GPT2, {"steps": 20, "sequences": 16, "micro_batch_size": 16}, False),
    ],
)
def test_it_pays_for_long_runs_alone(config, run, expected):
    assert pays(config, CUDA, **run) is expected
    assert pays(config, CPU, **run) is False


def test_many_small_passes_are_counted():
    """The same tokens in passes of one sequence: a small model then waits for its kernels to be started."""
    run = {"steps": 500, "sequences": 64}
    assert not pays(SMALL, CUDA, **run, micro_batch_size=64, captured=False)
    assert pays(SMALL, CUDA, **run, micro_batch_size=1, captured=False)
    assert not pays(SMALL, CUDA, **run, micro_batch_size=1)


def test_a_gpu_that_is_in_no_table_is_taken_for_a_slow_one():
    run = {"steps": 20_000, "sequences": 16, "micro_batch_size": 16}
    unknown = Device(torch.device("cuda", 0), "bf16", name="GeForce GTX 4000")
    assert [pays(SMALL, device, **run) for device in (CUDA, unknown)] == [False, True]


def test_with_a_time_budget_it_is_the_time_that_counts():
    run = {"sequences": 64, "micro_batch_size": 64}
    assert not pays(SMALL, CUDA, **run, steps=None, time_budget=60)
    assert pays(SMALL, CUDA, **run, steps=None, time_budget=3600)
    assert not pays(SMALL, CUDA, **run, steps=500, time_budget=3600)
