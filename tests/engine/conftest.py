"""What the tests of the fast paths share."""

from collections import Counter

import pytest

from bittygpt.engine.layers import attention, block, feed_forward, loss, rmsnorm


@pytest.fixture
def used(monkeypatch):
    """How often each fast path was taken, by name."""
    counts: Counter[str] = Counter()

    def count(name, function):
        return lambda *a, **k: counts.update([name]) or function(*a, **k)

    for function in (
        rmsnorm.RMSNormFunction,
        feed_forward.SiLUGate,
        block.NormAndAttention,
        block.NormAndSwiGLU,
        loss.LinearCrossEntropy,
    ):
        monkeypatch.setattr(function, "forward", staticmethod(count(function.__name__, function.forward)))
    for module in (attention, block):
        for name in ("causal_attention", "side_by_side"):
            if hasattr(module, name):
                monkeypatch.setattr(module, name, count(name, getattr(module, name)))
    return counts
