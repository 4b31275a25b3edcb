"""A step on devices that are not here: memory and rates by hand, and which way of sharing out is meant."""

import pytest
import torch

from bittygpt.config import RunConfig
from bittygpt.core import ModelConfig
from bittygpt.engine.uninitialized import uninitialized_model
from bittygpt.errors import ConfigError
from bittygpt.planning.estimate import (
    Hardware,
    check_batch,
    device_by_name,
    hardware,
    orthogonalizing_flops,
    plan_ranks,
)
from bittygpt.training.devices.device import Device
from bittygpt.training.devices.device_table import DEVICES, data_sheet_of
from bittygpt.training.devices.memory import estimate_memory

MODEL = uninitialized_model(ModelConfig(1000, 64, 32, 6, 4, d_ff=64))
LAYER = 4 * (4 * 32 * 32 + 3 * 32 * 64 + 2 * 32)  # bytes
AROUND = 4 * (2 * 1000 * 32 + 32)
WEIGHTS = 6 * LAYER + AROUND


def config(**train):
    return RunConfig.model_validate({"data": {"train": ["x"]}, "train": {"batch_size": 16, **train}})


def on(memory, world_size=4, flops=1e12):
    return Hardware(Device(torch.device("cuda"), "fp32", memory, name="H100"), world_size, 1e9, flops, 1e11)


def test_fsdp_holds_a_share_and_what_is_gathered():
    device = on(1).device
    memory = estimate_memory(MODEL, 2, 2, device, shards=4)
    gathered = AROUND + 3 * LAYER
    assert memory.weights == WEIGHTS // 4 + gathered
    assert memory.gradients == WEIGHTS + WEIGHTS // 4  # of several micro-batches they stay whole
    assert memory.moments == 2 * WEIGHTS // 4
    alone = estimate_memory(MODEL, 2, 2, device, shards=4, accumulates=False)
    assert alone.gradients == pytest.approx(gathered + WEIGHTS // 4, abs=1)
    whole = estimate_memory(MODEL, 2, 2, device)
    assert (whole.weights, whole.gradients, whole.moments) == (WEIGHTS, WEIGHTS, 2 * WEIGHTS)
    assert (whole.activations, whole.logits) == (memory.activations, memory.logits)


def test_ddp_copies_gradients_into_buckets_and_rates_give_the_time():
    (ddp, fsdp) = plan_ranks(config(micro_batch_size=2), MODEL, 2 * WEIGHTS // 4, on(10**12), None)
    assert (ddp.parallel, fsdp.parallel) == ("ddp", "fsdp")
    assert ddp.total_memory == ddp.memory.total + WEIGHTS
    assert (ddp.micro_batch_size, ddp.accumulation) == (2, 2)
    assert ddp.traffic == 2 * WEIGHTS * 3 / 4
    assert fsdp.traffic == pytest.approx(3 / 4 * (2 * (2 * 6 * LAYER + AROUND) + WEIGHTS), abs=1)
    assert ddp.time.compute == pytest.approx(2 * 2 * 256 * MODEL.flops_per_token() / 1e12)
    assert ddp.time.update == pytest.approx(28 * WEIGHTS / 4 / 1e11)
    assert fsdp.time.update == pytest.approx(ddp.time.update / 4)


def test_auto_takes_fsdp_where_ddp_does_not_fit_and_the_largest_micro_batch_that_does():
    needs = {}
    for parallel in ("ddp", "fsdp"):
        plans = plan_ranks(
            config(parallel=parallel, micro_batch_size=1), MODEL, 2 * WEIGHTS // 4, on(10**12), None
        )
        needs[parallel] = plans[0].total_memory
    between = int((needs["ddp"] + needs["fsdp"]) / 2 / 0.9)
    first, other = plan_ranks(config(), MODEL, 2 * WEIGHTS // 4, on(between), None)
    assert (first.parallel, first.fits, other.parallel, other.fits) == ("fsdp", True, "ddp", False)
    assert first.micro_batch_size == 1
    roomy = plan_ranks(config(), MODEL, 2 * WEIGHTS // 4, on(10**12), None)
    assert (roomy[0].parallel, roomy[0].micro_batch_size, roomy[0].accumulation) == ("ddp", 4, 1)


def test_one_device_sends_nothing():
    (alone,) = plan_ranks(config(), MODEL, 2 * WEIGHTS // 4, on(10**12, world_size=1), None)
    assert (alone.traffic, alone.time.exchange, alone.exchange_buffers) == (0, 0.0, 0)


def test_the_link_is_the_slowest_that_a_rank_sends_through():
    device = device_by_name("H100", "auto")
    assert device.precision == "bf16"
    assert hardware(device, 8, None, None).link == 0.75 * 450e9
    assert hardware(device, 16, None, None).link == 0.75 * 50e9
    assert hardware(device, 16, 3.0, None).link == 3e9
    assert hardware(device, 16, None, 0.5).flops == 0.5 * 989e12
    assert hardware(device_by_name("H100", "fp32"), 1, None, 0.5).flops == 0.5 * 67e12
    assert hardware(Device(torch.device("cpu"), "fp32"), 2, None, None).flops is None  # a step is timed there


def test_a_batch_that_cannot_be_shared_out_and_a_device_that_nobody_knows():
    check_batch(12, 4)
    with pytest.raises(ConfigError, match="multiple of 8, such as 16 or 24"):
        check_batch(20, 8)
    with pytest.raises(ConfigError, match="multiple of 64, such as 64"):
        check_batch(20, 64)
    with pytest.raises(ConfigError, match="H200"):
        device_by_name("abacus", "auto")


def test_rows_are_found_by_whole_words():
    assert data_sheet_of("NVIDIA A100-SXM4-40GB") is DEVICES["A100 40GB"]
    assert data_sheet_of("NVIDIA A100-SXM4-80GB") is DEVICES["A100"]
    assert data_sheet_of("NVIDIA H100 80GB HBM3") is DEVICES["H100"]
    assert data_sheet_of("h100 pcie") is DEVICES["H100 PCIe"]
    assert data_sheet_of("NVIDIA L40") is None
    for name, sheet in DEVICES.items():
        assert data_sheet_of(f"NVIDIA {name}") is sheet


def test_muons_products():
    model = uninitialized_model(ModelConfig(10, 8, 4, 1, 2, d_ff=8))
    square, oblong = 4 * 4**3 + 2 * 4**3, 4 * 4 * 4 * 8 + 2 * 4**3
    assert orthogonalizing_flops(model) == 5 * (4 * square + 3 * oblong)
