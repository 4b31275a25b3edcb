"""Scoring against the plainest way: each token's loss from a forward pass of its own."""

import itertools

import numpy as np
import pytest
import torch

from bittygpt.core import IGNORE_INDEX, ModelConfig, TransformerLM
from bittygpt.sampling import scoring
from bittygpt.sampling.scoring import score, windows

TOKEN_BYTES = np.arange(20)


def model_of(context):
    config = ModelConfig(20, context_length=context, d_model=16, num_layers=2, num_heads=2, d_ff=24)
    return TransformerLM(config).eval()


def plain_losses(model, ids, first):
    """The loss of each token after as many as the windows let it see: all, and from then on between T/2 and T."""
    context = model.config.context_length
    stride = max(1, context // 2)
    whole = [first, *ids]
    losses = []
    for at in range(1, len(whole)):
        window = max(0, -(-(at - context) // stride))
        seen = whole[window * stride : at]
        assert len(seen) <= context
        assert len(seen) >= min(at, context - stride)
        with torch.no_grad():
            losses.append(-model(torch.tensor([seen]))[0, -1].log_softmax(-1)[whole[at]].item())
    return losses


@pytest.mark.parametrize("context", [1, 2, 7, 16])
@pytest.mark.parametrize("length", [1, 6, 7, 8, 61])
def test_loss_and_bytes_against_a_pass_for_each_token(context, length, monkeypatch):
    monkeypatch.setattr(scoring, "TOKENS_AT_ONCE", 3 * context)
    model, ids = model_of(context), torch.randint(0, 20, (length,)).numpy()
    pieces = np.split(ids, [1, 5, 5, 20])
    *_, found = score(model, pieces, TOKEN_BYTES, first=0)
    losses = plain_losses(model, ids.tolist(), 0)
    assert found.num_tokens == length
    assert found.loss == pytest.approx(np.mean(losses), rel=1e-5)
    assert found.num_bytes == ids.sum()
    if ids.sum():
        assert found.bits_per_byte == pytest.approx(sum(losses) / np.log(2) / ids.sum(), rel=1e-5)


def test_ignored_tokens_are_read_and_not_counted():
    model, ids = model_of(8), torch.randint(0, 20, (40,)).numpy()
    *_, found = score(model, [ids], TOKEN_BYTES, 0, ignored=(3, 7))
    losses = [
        loss
        for token, loss in zip(ids, plain_losses(model, ids.tolist(), 0), strict=True)
        if token not in (3, 7)
    ]
    assert (found.num_tokens, found.loss) == (len(losses), pytest.approx(np.mean(losses), rel=1e-5))


@pytest.mark.parametrize("context", [1, 2, 5, 8])
def test_every_token_is_counted_once(context):
    ids = np.arange(1, 50)
    counted = [
        target
        for _, targets in windows([ids[:13], ids[13:13], ids[13:]], 0, context)
        for target in targets
        if target != IGNORE_INDEX
    ]
    assert counted == list(range(1, 50))


def test_a_text_without_an_end_is_scored_as_it_comes():
    endless = (np.full(1000, 1) for _ in itertools.count())
    some = [found.num_tokens for found in itertools.islice(score(model_of(16), endless, TOKEN_BYTES, 0), 5)]
    assert some == sorted(some)


def test_nothing_to_score():
    assert list(score(model_of(4), [], TOKEN_BYTES, 0)) == []
    assert list(score(model_of(4), [np.zeros(0)], TOKEN_BYTES, 0)) == []
