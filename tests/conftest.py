"""Shared set-up: one thread for each test process (results then do not depend on the machine), seeded numbers."""

import hypothesis
import pytest
import torch

hypothesis.settings.register_profile(
    "no clock", deadline=None
)  # a shared machine may stand still for a second
hypothesis.settings.load_profile("no clock")


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)
