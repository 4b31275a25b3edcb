"""The cache of rows: what is put where, what may be looked at, what is freed."""

import math

import pytest
import torch

from bittygpt.core import ModelConfig
from bittygpt.sampling.decoding.kv_cache import KeyValueCache, bytes_per_row, common_capacity

SHAPE = ModelConfig(
    vocab_size=9, context_length=200, d_model=8, num_layers=2, num_heads=4, num_kv_heads=2, d_ff=8
)


@pytest.fixture
def cache():
    return KeyValueCache(SHAPE, rows=3, capacity=100, dtype=torch.float32, device=torch.device("cpu"))


def heads_of(number, count=1):
    """Keys that are `number` and values that are its negative, (count, 2 G, d)."""
    return torch.tensor([number, number, -number, -number]).float()[None, :, None].expand(count, 4, 2)


def looked_at(seen, row):
    """The keys of a row that the mask lets through, and their number."""
    keys, values, mask = seen
    visible = mask[row, 0, 0] == 0
    assert mask[row, 0, 0][~visible].eq(-math.inf).all()
    assert torch.equal(values[row][:, visible], -keys[row][:, visible])
    return keys[row, 0, visible, 0].tolist()


def test_each_row_grows_at_its_own_end(cache):
    cache.set_length(0, 3)
    cache.write_prompt(1, 0, torch.cat([heads_of(n) for n in (1, 2, 3)]))
    cache.set_length(1, 0)
    for step in (10, 20):
        assert cache.begin_step() == [3 + step // 20, step // 20]
        seen = cache.append(1, torch.cat([heads_of(step), heads_of(step + 1)]))
    assert looked_at(seen, 0) == [1, 2, 3, 10, 20]
    assert looked_at(seen, 1) == [11, 21]
    assert cache.lengths == [5, 2]


def test_rows_of_one_length_grow_together(cache):
    for row in range(3):
        cache.set_length(row, 0)
    for step in (1, 2):
        cache.begin_step()
        seen = cache.append(0, torch.cat([heads_of(10 * step + row) for row in range(3)]))
    assert [looked_at(seen, row) for row in range(3)] == [[10, 20], [11, 21], [12, 22]]


def test_a_row_that_is_read_anew_shows_nothing_of_before(cache):
    cache.set_length(0, 3)
    cache.write_prompt(0, 0, heads_of(7, 3))
    cache.set_length(0, 1)
    cache.write_prompt(0, 0, heads_of(5))
    cache.begin_step()
    assert looked_at(cache.append(0, heads_of(6)), 0) == [5, 6]


def test_a_copy_holds_the_first_positions_and_goes_its_own_way(cache):
    cache.set_length(0, 3)
    cache.write_prompt(0, 0, torch.cat([heads_of(n) for n in (1, 2, 3)]))
    cache.copy(0, 1, 2)
    cache.begin_step()
    seen = cache.append(0, torch.cat([heads_of(4), heads_of(5)]))
    assert (looked_at(seen, 0), looked_at(seen, 1)) == ([1, 2, 3, 4], [1, 2, 5])


def test_the_last_row_takes_the_place_of_one_that_is_removed(cache):
    for row in range(3):
        cache.set_length(row, row + 1)
        cache.write_prompt(0, row, heads_of(row + 1, row + 1))
    cache.remove(0)
    assert cache.lengths == [3, 2]
    cache.begin_step()
    seen = cache.append(0, torch.cat([heads_of(8), heads_of(9)]))
    assert (looked_at(seen, 0), looked_at(seen, 1)) == ([3, 3, 3, 8], [2, 2, 9])
    cache.remove(1)
    cache.remove(0)
    assert cache.lengths == []


def test_room_is_taken_once_and_heads_stay_grouped(cache):
    cache.set_length(0, 0)
    places = set()
    for _ in range(100):
        cache.begin_step()
        keys, values, _ = cache.append(0, heads_of(1))
        places.add((keys.data_ptr(), values.data_ptr()))
    assert len(places) == 1
    assert keys.shape == (1, 2, 128, 2)
    assert bytes_per_row(SHAPE, 128, torch.float32) == 2 * (keys.nbytes + values.nbytes)


def test_no_more_is_looked_at_than_the_longest_row_needs(cache):
    cache.set_length(0, 62)
    spans = []
    for _ in range(3):
        cache.begin_step()
        spans.append(cache.append(0, heads_of(1))[0].shape[2])
    assert spans == [64, 64, 128]


@pytest.mark.parametrize(
    ("lengths", "max_tokens", "capacity"), [([3, 9], 20, 29), ([3], 500, 200), ([], 4, 5)]
)
def test_the_common_capacity(lengths, max_tokens, capacity):
    assert common_capacity(SHAPE, lengths, max_tokens) == capacity
