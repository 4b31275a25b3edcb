"""Batches: every token a target once an epoch, a new order each epoch, nothing but seed and step decides."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from bittygpt.core import IGNORE_INDEX
from bittygpt.data.batches import TrainingBatches, evaluation_batches, shuffled


class Ring:
    """Tokens that are their own positions."""

    def __init__(self, num_tokens: int) -> None:
        self.num_tokens = num_tokens

    def read(self, start: int, length: int) -> np.ndarray:
        return (np.arange(start, start + length)) % self.num_tokens

    def check(self, tokens: np.ndarray) -> None:
        pass

    def positions_of(self, token: int) -> np.ndarray:
        """A document ends at every multiple of `token`, and at the last position."""
        return np.unique([*range(token, self.num_tokens, token), self.num_tokens - 1])


@settings(max_examples=60)
@given(size=st.integers(1, 5000), key=st.integers(0, 2**64 - 1))
def test_shuffled_is_a_permutation(size, key):
    assert sorted(shuffled(np.arange(size), size, key)) == list(range(size))


def test_shuffled_mixes_well():
    order = shuffled(np.arange(100_000), 100_000, 7)
    assert abs(np.corrcoef(np.arange(100_000), order)[0, 1]) < 0.02
    assert abs(np.corrcoef(order[:-1], order[1:])[0, 1]) < 0.02
    assert not np.array_equal(order, shuffled(np.arange(100_000), 100_000, 8))


@pytest.mark.parametrize(("num_tokens", "context"), [(64, 8), (65, 8), (71, 8), (5, 8), (8, 8), (1000, 7)])
def test_every_token_is_a_target_once_an_epoch(num_tokens, context):
    batches = TrainingBatches(Ring(num_tokens), context, 1, seed=3)
    for epoch in range(3):
        first = epoch * batches.windows_per_epoch
        targets = torch.cat([batches.batch(first + i + 1).targets for i in range(batches.windows_per_epoch)])
        assert sorted(targets[targets != IGNORE_INDEX].tolist()) == list(range(num_tokens))
    assert batches.epoch(3 * batches.windows_per_epoch) == 3


@pytest.mark.parametrize(("num_tokens", "context"), [(64, 8), (65, 20), (5, 8), (1000, 31)])
def test_windows_that_begin_with_documents_cover_every_token_in_another_order_each_epoch(num_tokens, context):
    ring, end = Ring(num_tokens), 12
    batches = TrainingBatches(ring, context, 1, seed=3, document_end=end)
    seen = []
    for epoch in range(8):
        first = epoch * batches.windows_per_epoch
        rows = [batches.batch(first + i + 1) for i in range(batches.windows_per_epoch)]
        targets = torch.cat([row.targets.flatten() for row in rows])
        seen.append(targets[targets != IGNORE_INDEX].tolist())
        assert len(set(seen[-1])) == len(seen[-1])
        firsts = {0, *(ring.positions_of(end) + 1)}
        assert set(range(num_tokens)) - set(seen[-1]) <= firsts  # of every other window, the first token
    assert set().union(*seen) == set(range(num_tokens))
    assert len({tuple(targets) for targets in seen}) > 1
    evaluated = evaluation_batches(ring, context, 3, None, document_end=end)
    targets = torch.cat([batch.targets.flatten() for batch in evaluated])
    assert targets[targets != IGNORE_INDEX].tolist() == list(range(num_tokens))


def test_targets_are_the_next_tokens():
    batch = TrainingBatches(Ring(1000), 16, 4, seed=0).batch(5)
    valid = batch.targets != IGNORE_INDEX
    assert torch.equal(batch.targets[valid], (batch.ids[valid] + 1) % 1000)
    assert batch.num_valid() == int(valid.sum())


def test_the_order_is_new_in_every_epoch_and_for_every_seed():
    batches = TrainingBatches(Ring(512), 8, 64, seed=0)
    first, second = batches.batch(1).ids, batches.batch(2).ids  # 64 windows: an epoch a batch
    assert not torch.equal(first, second)
    assert not torch.equal(first.sort(0).values, second.sort(0).values)  # cut elsewhere, too
    assert not torch.equal(first, TrainingBatches(Ring(512), 8, 64, seed=1).batch(1).ids)


def test_a_batch_depends_on_nothing_but_seed_and_step():
    fresh, used = (TrainingBatches(Ring(999), 8, 5, seed=2) for _ in range(2))
    for step in (1, 9, 4):
        used.batch(step)
    assert torch.equal(fresh.batch(70).ids, used.batch(70).ids)
    assert fresh.batch(70).hash() == used.batch(70).hash() != fresh.batch(71).hash()


def test_ignored_tokens_are_read_but_no_targets():
    batch = TrainingBatches(Ring(100), 10, 10, seed=0, ignore_tokens=(5, 6)).batch(1)
    assert (batch.ids == 5).any()
    assert not ((batch.targets == 5) | (batch.targets == 6)).any()


@pytest.mark.parametrize(("num_tokens", "context"), [(65, 8), (66, 8), (70, 8), (5, 8), (2, 8)])
def test_evaluation_covers_every_target_once_in_order(num_tokens, context):
    targets = torch.cat([b.targets.flatten() for b in evaluation_batches(Ring(num_tokens), context, 3, None)])
    assert targets[targets != IGNORE_INDEX].tolist() == list(range(1, num_tokens))


def test_evaluation_of_a_part_is_spread_over_the_split():
    batches = list(evaluation_batches(Ring(10_000), 10, 4, 200))
    starts = torch.cat([b.ids[:, 0] for b in batches])
    assert len(starts) == 20
    assert starts[0] == 0
    assert starts[-1] == 9990
    assert starts.diff().max() < 2 * starts.diff().min()
