"""One step: equal to PyTorch's own parts, however the batch is cut, and harmless when it diverges."""

import copy

import pytest
import torch
import torch.nn.functional as F

from bittygpt.core import IGNORE_INDEX, AdamW, ModelConfig, TransformerLM
from bittygpt.data.batches import Batch
from bittygpt.training.devices.device import Device
from bittygpt.training.distributed.ranks import Ranks
from bittygpt.training.step import compute_gradients, update_weights

CPU = Device(torch.device("cpu"), "fp32")


def batch_with_uneven_targets():
    ids, targets = torch.randint(0, 30, (6, 8)), torch.randint(0, 30, (6, 8))
    targets[0, :] = IGNORE_INDEX
    targets[3, 2:] = IGNORE_INDEX
    return Batch(ids, targets)


def step(model, batch, micro_batch_size=6, lr=0.01, grad_clip=0.5):
    optimizer = AdamW(model.parameters(), lr=1.0, weight_decay=0.1)
    settings = {"grad_clip": grad_clip, "device": CPU, "ranks": Ranks()}
    result = compute_gradients(model, batch, micro_batch_size=micro_batch_size, **settings)
    if result.is_finite:
        update_weights([optimizer], lr)
    return result


def small_model():
    return TransformerLM(ModelConfig(30, 8, 16, 1, 2, d_ff=32))


def test_equals_a_step_of_torchs_own_parts():
    ours, batch = small_model(), batch_with_uneven_targets()
    theirs = copy.deepcopy(ours)
    result = step(ours, batch)
    loss = F.cross_entropy(theirs(batch.ids).flatten(0, 1), batch.targets.flatten())
    loss.backward()
    norm = torch.nn.utils.clip_grad_norm_(theirs.parameters(), 0.5)
    torch.optim.AdamW(theirs.parameters(), lr=0.01, weight_decay=0.1).step()
    assert result.loss == pytest.approx(loss.item(), rel=1e-5)
    assert result.grad_norm == pytest.approx(norm.item(), rel=1e-4)
    for p, q in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(p, q, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("micro_batch_size", [1, 2, 3, 4])
def test_micro_batches_with_uneven_targets_equal_the_whole_batch(micro_batch_size):
    whole, batch = small_model(), batch_with_uneven_targets()
    cut = copy.deepcopy(whole)
    expected, result = step(whole, batch), step(cut, batch, micro_batch_size)
    assert result.loss == pytest.approx(expected.loss, rel=1e-5)
    assert result.grad_norm == pytest.approx(expected.grad_norm, rel=1e-4)


@pytest.mark.parametrize("bad", [torch.nan, torch.inf])
def test_what_is_not_finite_is_noticed_before_the_update(bad):
    model = small_model()
    model.lm_head.weight.data[3, 4] = bad
    before = [p.clone() for p in model.parameters()]
    assert not step(model, batch_with_uneven_targets()).is_finite
    for p, old in zip(model.parameters(), before, strict=True):
        assert torch.equal(p.nan_to_num(7.0), old.nan_to_num(7.0))


def test_a_batch_without_any_target_moves_nothing_but_by_decay():
    model = small_model()
    batch = Batch(torch.zeros(2, 8, dtype=torch.long), torch.full((2, 8), IGNORE_INDEX))
    result = step(model, batch)
    assert result.loss == 0
    assert result.grad_norm == 0
    assert all(p.isfinite().all() for p in model.parameters())
