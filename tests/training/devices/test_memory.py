"""The micro-batch that fits, and the message when it does not."""

import pytest
import torch

from bittygpt.core import ModelConfig, TransformerLM
from bittygpt.training.devices.device import Device
from bittygpt.training.devices.memory import estimate_memory, micro_batch_sizes, out_of_memory

MODEL = TransformerLM(ModelConfig(1000, 64, 32, 2, 4))


class Gpu(Device):
    """A device with as much memory as a test wants."""

    memory = 0

    def total_memory(self) -> int:
        return self.memory


def gpu(memory):
    device = Gpu(torch.device("cpu"), "fp32")
    object.__setattr__(device, "memory", memory)
    return device


def test_the_largest_divisor_that_fits():
    needed = {size: estimate_memory(MODEL, size, 2, gpu(0)).total for size in (1, 2, 3, 4, 6, 12)}
    for size, total in needed.items():
        assert micro_batch_sizes(MODEL, 12, 2, gpu(int(total / 0.7) + 2))[0] == size
    assert micro_batch_sizes(MODEL, 12, 2, gpu(0)) == [1]


def test_the_message_names_the_parts_and_the_key():
    text = str(out_of_memory(MODEL, 4, 2, gpu(10**9)))
    for word in (
        "1.0 GB",
        "weights",
        "gradients",
        "moments",
        "activations",
        "logits",
        "train.micro_batch_size below 4",
    ):
        assert word in text
    assert "model.context_length" in str(out_of_memory(MODEL, 1, 2, gpu(10**9)))


@pytest.mark.parametrize(
    ("name", "peak"),
    [
        ("NVIDIA H100 80GB HBM3", 989e12),
        ("NVIDIA A100-SXM4-80GB", 312e12),
        ("NVIDIA L40", None),
        ("NVIDIA RTX A1000", None),
    ],
)
def test_the_peak_of_a_device_is_that_of_its_whole_name(monkeypatch, name, peak):
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda _: name)
    assert Device(torch.device("cuda"), "bf16").peak_flops() == peak
