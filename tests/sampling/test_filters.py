"""Each filter against a plain loop over Python floats, over random logits with many ties."""

import math

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from bittygpt.sampling.filters import (
    apply_repetition_penalty,
    apply_temperature,
    keep_min_p,
    keep_top_k,
    keep_top_p,
)

# Quarters from -4 to 4: many ties, and no sums that lie within rounding of a threshold but by chance.
logit_rows = st.lists(st.integers(-16, 16).map(lambda n: n / 4), min_size=1, max_size=12)


def kept(logits_BV):
    return [[i for i, x in enumerate(row) if x != -math.inf] for row in logits_BV.tolist()]


def probabilities(row):
    exponentials = [math.exp(x - max(row)) for x in row]
    return [e / sum(exponentials) for e in exponentials]


def by_likelihood(row):
    """Ids from the highest logit to the lowest, equal ones by id."""
    return sorted(range(len(row)), key=lambda i: (-row[i], i))


@given(logit_rows, st.integers(1, 14))
@settings(deadline=None)
def test_top_k(row, k):
    logits = torch.tensor([row, row[::-1]])
    assert kept(keep_top_k(logits, k)) == [sorted(by_likelihood(r)[:k]) for r in (row, row[::-1])]


@given(logit_rows, st.floats(0.01, 1))
@settings(deadline=None)
def test_top_p(row, p):
    expected, total = [], 0.0
    for i in by_likelihood(row):
        assume(abs(total - p) > 1e-5)  # within rounding of the threshold either is right
        if total < p:
            expected.append(i)
        total += probabilities(row)[i]
    assert kept(keep_top_p(torch.tensor([row]), p)) == [sorted(expected)]


@given(logit_rows, st.floats(0.001, 0.99))
@settings(deadline=None)
def test_min_p(row, min_p):
    p = probabilities(row)
    assume(all(abs(x - min_p * max(p)) > 1e-6 for x in p))
    assert kept(keep_min_p(torch.tensor([row]), min_p)) == [
        [i for i, x in enumerate(p) if x > min_p * max(p)]
    ]


@given(logit_rows, st.floats(0.05, 20))
@settings(deadline=None)
def test_temperature_is_a_power_of_the_probabilities(row, temperature):
    powers = [p ** (1 / temperature) for p in probabilities(row)]
    expected = torch.tensor([[power / sum(powers) for power in powers]])
    actual = apply_temperature(torch.tensor([row]), temperature).softmax(-1)
    torch.testing.assert_close(actual, expected, atol=1e-5, rtol=1e-4)


@given(logit_rows, st.floats(0.5, 3), st.data())
@settings(deadline=None)
def test_repetition_penalty(row, penalty, data):
    seen = data.draw(st.lists(st.booleans(), min_size=len(row), max_size=len(row)))
    expected = [(x / penalty if x > 0 else x * penalty) if s else x for x, s in zip(row, seen, strict=True)]
    actual = apply_repetition_penalty(torch.tensor([row]), torch.tensor([seen]), penalty)
    torch.testing.assert_close(actual, torch.tensor([expected]))


FILTERS = {
    "top_k": lambda x: keep_top_k(x, 1),
    "top_p": lambda x: keep_top_p(x, 1e-300),
    "min_p": lambda x: keep_min_p(x, 1.0),
    "temperature": lambda x: apply_temperature(x, 1e-300),
}


@pytest.mark.parametrize("name", FILTERS)
def test_the_likeliest_token_always_remains(name):
    logits = torch.randn(20, 50) * 10
    filtered = FILTERS[name](logits)
    assert torch.equal(filtered.softmax(-1), torch.nn.functional.one_hot(logits.argmax(-1), 50).float())


@pytest.mark.parametrize("filtered", [keep_top_k, keep_top_p, keep_min_p])
def test_dropped_tokens_stay_dropped(filtered):
    """What an earlier filter (or --ignore-eos) has dropped comes back with none after it."""
    logits = torch.tensor([[-math.inf, 1.0, -math.inf, 0.0]])
    for strength in (1, 2, 3, 4) if filtered is keep_top_k else (0.3, 0.9, 1.0):
        assert {0, 2}.isdisjoint(kept(filtered(logits, strength))[0])


def test_of_equal_logits_the_lower_ids_are_kept():
    equal = torch.zeros(1, 8)
    assert kept(keep_top_k(equal, 3)) == [[0, 1, 2]]
    assert kept(keep_top_p(equal, 0.3)) == [[0, 1, 2]]
    assert kept(keep_min_p(equal, 1.0)) == [list(range(8))]


def test_limits_that_keep_all():
    logits = torch.randn(2, 9) * 30
    for unchanged in (keep_top_k(logits, 9), keep_top_p(logits, 1.0), keep_min_p(logits, 0.0)):
        assert torch.equal(unchanged, logits)


def test_a_row_does_not_depend_on_the_others():
    logits = torch.randn(6, 30)
    for keep, strength in ((keep_top_k, 4), (keep_top_p, 0.6), (keep_min_p, 0.2)):
        alone = torch.cat([keep(row[None], strength) for row in logits])
        assert torch.equal(keep(logits, strength), alone)
