"""Which device and precision a config gets."""

import pytest
import torch

from bittygpt.training.devices.device import choose_device


@pytest.mark.parametrize(
    ("has", "asked", "expected"),
    [
        ("avx512_bf16", "bf16", "bf16"),
        ("amx_bf16", "bf16", "bf16"),
        ("avx2", "bf16", "fp32"),
        ("avx512_bf16", "auto", "fp32"),
        ("avx512_bf16", "fp32", "fp32"),
    ],
)
def test_a_cpu_computes_in_bf16_if_asked_to_and_if_it_has_the_instructions(monkeypatch, has, asked, expected):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {has: True, "avx": True}, raising=False)
    device = choose_device("cpu", asked)
    assert device.precision == expected
    assert bool(device.note) is (asked != expected and asked != "auto")


def test_without_word_of_the_instructions_there_are_none(monkeypatch):
    monkeypatch.delattr(torch.cpu, "get_capabilities", raising=False)
    assert choose_device("cpu", "bf16").precision == "fp32"
