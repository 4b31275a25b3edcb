"""Learning-rate schedules: the handbook's cosine, against PyTorch's, and the corners of each shape."""

import pytest
import torch

from bittygpt.core import constant_schedule, cosine_decay, cosine_schedule, wsd_decay, wsd_schedule


def test_cosine_equals_torch():
    p = torch.zeros(1, requires_grad=True)
    optimizer = torch.optim.SGD([p], lr=1.0)
    warm = torch.optim.lr_scheduler.LinearLR(optimizer, 1 / 10, 1.0, total_iters=9)
    down = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 40, eta_min=0.1)
    oracle = []
    for step in range(1, 51):
        oracle.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        (warm if step < 10 else down).step()
    ours = [cosine_schedule(step, 1.0, 0.1, 10, 50) for step in range(1, 51)]
    assert ours == pytest.approx(oracle, abs=1e-6)


@pytest.mark.parametrize("warmup", [0, 1, 10])
def test_corners(warmup):
    def cosine(step):
        return cosine_schedule(step, 2.0, 0.2, warmup, 100)

    def wsd(step):
        return wsd_schedule(step, 2.0, 0.2, warmup, 100)

    for schedule in (cosine, wsd):
        assert schedule(max(1, warmup)) == pytest.approx(2.0, rel=1e-3)
        assert schedule(100) == pytest.approx(0.2)
        assert schedule(500) == pytest.approx(0.2)
        assert all(0 < schedule(step) <= 2.0 for step in range(1, 101))
    assert wsd(80) == 2.0
    assert wsd(90) == pytest.approx(1.1)
    assert constant_schedule(10_000, 2.0, warmup) == 2.0
    assert constant_schedule(1, 2.0, 10) == pytest.approx(0.2)


def test_half_way_down_the_cosine_is_the_mean():
    assert cosine_schedule(55, 1.0, 0.0, 10, 100) == pytest.approx(0.5)


def test_by_progress_the_schedules_are_those_by_steps():
    """No warm-up: step k of n is progress k / n."""
    for step in range(1, 101):
        assert cosine_decay(step / 100, 2.0, 0.2) == pytest.approx(cosine_schedule(step, 2.0, 0.2, 0, 100))
        for fraction in (0.2, 0.5, 1.0):
            by_steps = wsd_schedule(step, 2.0, 0.2, 0, 100, fraction)
            assert wsd_decay(step / 100, 2.0, 0.2, fraction) == pytest.approx(by_steps)


@pytest.mark.parametrize("progress", [0.0, 0.5, 1 - 1e-16, 1.0])
def test_without_a_decay_the_rate_stays(progress):
    assert wsd_decay(progress, 2.0, 0.2, 0.0) == 2.0
