"""What a plan counts: steps, evaluations, checkpoints, windows and room on the disk."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from bittygpt.config import RunConfig
from bittygpt.core import ModelConfig, TransformerLM
from bittygpt.data.batches import evaluation_batches
from bittygpt.planning.faults import disk_faults, memory_faults
from bittygpt.planning.plan import DiskPlan, due, evaluation_windows, plan_disk, plan_time
from bittygpt.training.devices.device import Device
from bittygpt.training.devices.memory import estimate_memory


def config(**train):
    return RunConfig.model_validate(
        {"data": {"train": ["x"]}, "model": {"context_length": 8}, "train": {"max_steps": 100, **train}}
    )


@pytest.mark.parametrize("every", [1, 3, 10, 50, 200])
@pytest.mark.parametrize("last", [1, 50, 100])
@pytest.mark.parametrize("after", [0, 7, 50, 100])
def test_how_often_something_is_due(after, last, every):
    assert due(after, last, every) == sum(n % every == 0 or n == last for n in range(after + 1, last + 1))


def test_the_time_is_the_sum_of_all_that_is_done():
    time = plan_time(config(eval_every=40, save_every=25), 30, 5.0, 2.0, 10.0, 600_000_000)
    assert (time.steps_left, time.evaluations, time.saves) == (70, 3, 3)
    assert time.save == pytest.approx(2.1)
    assert time.end == pytest.approx(1.5 + 0.5 * 3)
    assert time.total == pytest.approx(5 + 140 + 30 + 6.3 + 3)
    assert plan_time(config(), 100, 5.0, 2.0, 10.0, 10**9).steps_left == 0
    assert plan_time(config(), 0, 5.0, 2.0, 0.0, 10**9).evaluations == 0


@pytest.mark.parametrize("limit", [None, 20, 100, 10_000])
def test_an_evaluation_has_as_many_windows_as_the_run_makes(limit):
    text = np.arange(500) % 7

    class Split:
        num_tokens = 500

        def read(self, start, length):
            return np.resize(np.roll(text, -start), length)

        def check(self, tokens):
            pass

    made = sum(len(batch.ids) for batch in evaluation_batches(Split(), 8, 3, limit))
    ahead = SimpleNamespace(val=500, val_windows=63)
    assert evaluation_windows(config(eval_tokens=limit), ahead) == made


def test_windows_of_a_text_whose_size_nobody_knows():
    unknown = SimpleNamespace(val=None, val_windows=None)
    assert evaluation_windows(config(eval_tokens=100), unknown) == 13
    assert evaluation_windows(config(), unknown) == 0
    assert evaluation_windows(config(), SimpleNamespace(val=0, val_windows=0)) == 0


def test_the_disk_holds_what_keep_says_and_the_best(tmp_path):
    for step in (10, 20):
        (tmp_path / f"step-{step:08d}").mkdir()
    disk = plan_disk(config(save_every=10, keep=3), tmp_path, 20, 1000, validates=True)
    assert (disk.there, disk.kept, disk.needed) == (2, 4, 2000)
    assert plan_disk(config(save_every=10, keep=3), tmp_path, 20, 1000, validates=False).kept == 3
    assert plan_disk(config(save_every=100, keep=3), tmp_path / "new", 0, 1000, validates=True).kept == 1
    assert plan_disk(config(save_every=10, keep=1), tmp_path, 20, 1000, validates=True).needed == 1000


def test_a_disk_that_is_too_small_and_the_key_to_change(tmp_path):
    disk = DiskPlan(checkpoint=1000, there=0, kept=4, free=4000)
    assert disk_faults(disk, tmp_path, 3, 10) == []
    (fault,) = disk_faults(replace(disk, free=3500), tmp_path, 3, 10)
    assert "room for 3 more" in fault
    assert "train.keep to 2" in fault
    (fault,) = disk_faults(replace(disk, free=500), tmp_path, 3, 10)
    assert "train.keep" not in fault
    assert "run.dir" in fault
    assert disk_faults(replace(disk, free=500), tmp_path, 3, 0) == []


def test_a_memory_that_is_too_small_and_the_key_to_change():
    import torch

    memory = estimate_memory(
        TransformerLM(ModelConfig(100, 8, 16, 1, 2)), 4, 2, Device(torch.device("cpu"), "fp32")
    )
    cpu, gpu = Device(torch.device("cpu"), "fp32"), Device(torch.device("cuda"), "fp32")
    assert memory_faults(memory, 1000, memory.total + 1000, cpu, 4) == []
    (fault,) = memory_faults(memory, 1000, memory.total + 999, cpu, 4)
    assert "train.micro_batch_size below 4" in fault
    (fault,) = memory_faults(memory, 1000, memory.total + 999, cpu, 1)
    assert "model.d_model" in fault
    assert memory_faults(memory, 0, memory.total - 1, gpu, 4) == []  # it is asked
    assert memory_faults(memory, 0, memory.weights, gpu, 4) != []
