"""Batches made ahead are those that were asked for, whatever the order."""

import threading

import pytest
import torch

from bittygpt.data.batches import Batch
from bittygpt.training.prefetch import Prefetcher


def make(number):
    return Batch(torch.full((1, 2), number), torch.full((1, 2), -number))


def test_every_number_gives_its_batch_in_any_order():
    prefetcher = Prefetcher(make, pin=False)
    for number in (1, 2, 3, 7, 8, 4, 4, 5):
        batch = prefetcher.batch(number)
        assert batch.ids.tolist() == [[number] * 2]
        assert batch.targets.tolist() == [[-number] * 2]


def test_the_next_one_is_made_before_it_is_asked_for():
    made = {number: threading.Event() for number in range(1, 4)}

    def noted(number):
        made[number].set()
        return make(number)

    Prefetcher(noted, pin=False).batch(1)
    assert made[2].wait(timeout=30)
    assert not made[3].is_set()


def test_an_error_is_raised_for_the_batch_that_it_belongs_to():
    def failing(number):
        if number == 2:
            raise OSError("a shard is gone")
        return make(number)

    prefetcher = Prefetcher(failing, pin=False)
    prefetcher.batch(1)
    with pytest.raises(OSError, match="a shard is gone"):
        prefetcher.batch(2)
