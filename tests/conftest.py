"""Shared set-up: one thread for each test process (results then do not depend on the machine), seeded numbers."""

import pytest
import torch


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)
