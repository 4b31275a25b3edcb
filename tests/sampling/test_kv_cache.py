"""The cache against the full forward pass: same logits, token by token and in pieces."""

import dataclasses

import pytest
import torch

from bittygpt.core import ModelConfig, TransformerLM
from bittygpt.sampling.kv_cache import LayerCache, caches_for

PLAIN = ModelConfig(vocab_size=40, context_length=16, d_model=32, num_layers=2, num_heads=4, d_ff=48)
VARIANTS = {
    "plain": PLAIN,
    "grouped": dataclasses.replace(PLAIN, num_kv_heads=2),
    "multi-query": dataclasses.replace(PLAIN, num_kv_heads=1),
    "tied": dataclasses.replace(PLAIN, tie_embeddings=True),
    "qk-norm": dataclasses.replace(PLAIN, qk_norm=True),
}


@pytest.mark.usefixtures("both_forms")
@pytest.mark.parametrize("piece", [1, 3, 16])
@pytest.mark.parametrize("name", VARIANTS)
@torch.no_grad()
def test_logits_in_pieces_equal_the_full_pass(name, piece):
    model = TransformerLM(VARIANTS[name]).eval()
    ids = torch.randint(0, 40, (2, 16))
    caches = caches_for(model, 16)
    pieces = [
        model(ids[:, at : at + piece], torch.arange(at, min(16, at + piece)), caches)
        for at in range(0, 16, piece)
    ]
    torch.testing.assert_close(torch.cat(pieces, dim=1), model(ids), atol=1e-5, rtol=1e-5)


def test_append_gives_all_so_far_in_order_and_writes_in_place():
    keys, values = torch.randn(2, 2, 3, 5, 4).unbind(0)
    cache = LayerCache(capacity=9)
    first_keys, _ = cache.append(keys[:, :, :2], values[:, :, :2])
    all_keys, all_values = cache.append(keys[:, :, 2:], values[:, :, 2:])
    assert torch.equal(all_keys, keys)
    assert torch.equal(all_values, values)
    assert cache.length == 5
    assert all_keys.data_ptr() == first_keys.data_ptr()


def test_heads_stay_grouped():
    model = TransformerLM(VARIANTS["multi-query"])
    cache = caches_for(model, 4)
    model(torch.zeros(3, 2, dtype=torch.long), torch.arange(2), cache)
    keys, _ = cache[0].append(torch.zeros(3, 1, 1, 8), torch.zeros(3, 1, 1, 8))
    assert keys.shape == (3, 1, 3, 8)


def test_repeated_rows_are_equal_and_then_independent():
    cache = LayerCache(capacity=4)
    cache.append(torch.ones(1, 1, 1, 2), torch.ones(1, 1, 1, 2))
    cache.repeat(3)
    new = torch.arange(3.0).view(3, 1, 1, 1).expand(3, 1, 1, 2)
    keys, values = cache.append(new, -new)
    assert keys[:, 0, :, 0].tolist() == [[1, 0], [1, 1], [1, 2]]
    assert values[:, 0, :, 0].tolist() == [[1, 0], [1, -1], [1, -2]]


def test_clear_forgets_and_keeps_the_room():
    cache = LayerCache(capacity=2)
    before, _ = cache.append(torch.ones(1, 1, 2, 2), torch.ones(1, 1, 2, 2))
    cache.clear()
    after, _ = cache.append(torch.zeros(1, 1, 1, 2), torch.zeros(1, 1, 1, 2))
    assert after.shape[2] == 1
    assert after.data_ptr() == before.data_ptr()


def test_more_than_the_capacity_is_refused():
    cache = LayerCache(capacity=2)
    with pytest.raises(ValueError, match="3 positions in a cache of 2"):
        cache.append(torch.zeros(1, 1, 3, 2), torch.zeros(1, 1, 3, 2))


@torch.no_grad()
def test_under_autocast_the_cache_has_the_dtype_of_attention():
    """On a CPU that is float32, on a GPU bfloat16."""
    model = TransformerLM(dataclasses.replace(VARIANTS["qk-norm"], num_kv_heads=2)).eval()
    ids = torch.randint(0, 40, (2, 8))
    cache = caches_for(model, 8)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        pieces = [model(ids[:, at : at + 4], torch.arange(at, at + 4), cache) for at in (0, 4)]
        expected = model(ids)
    cache[0].clear()
    keys, _ = cache[0].append(torch.zeros(2, 2, 1, 8), torch.zeros(2, 2, 1, 8))
    assert keys.dtype == torch.float32
    torch.testing.assert_close(torch.cat(pieces, dim=1), expected, atol=0.1, rtol=0.05)
