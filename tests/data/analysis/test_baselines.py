"""The baselines against their formulas, summed over dictionaries."""

import lzma
import math
from collections import Counter, defaultdict

import numpy as np
import pytest

from bittygpt.data.analysis import baselines
from bittygpt.data.analysis.baselines import baselines_of, ngram_losses
from bittygpt.data.shards import TokenSplit

END = 0


def witten_bell(train, targets, vocab_size):
    """As the definition reads: nats per model, one token after the other."""
    stream = [*train, END, END]
    counts = [defaultdict(Counter) for _ in range(3)]
    for i in range(len(train)):
        for n in range(3):
            counts[n][tuple(stream[i : i + n])][stream[i + n]] += 1
    losses = Counter()
    history = [END, END, *targets]
    for i, target in enumerate(targets):
        p = 1 / vocab_size
        losses["uniform"] -= math.log(p)
        for n, name in enumerate(("unigram", "bigram", "trigram")):
            seen = counts[n].get(tuple(history[i + 2 - n : i + 2]))
            if seen:
                p = (seen[target] + len(seen) * p) / (sum(seen.values()) + len(seen))
            losses[name] -= math.log(p)
    return losses


@pytest.mark.parametrize(("vocab_size", "num_train"), [(5, 200), (40, 300), (300, 50), (3, 1), (50_000, 400)])
def test_ngrams_are_interpolated_as_the_formula_says(vocab_size, num_train):
    rng = np.random.default_rng(vocab_size)
    train = np.minimum(rng.zipf(1.4, num_train), vocab_size - 1)
    targets = np.minimum(rng.zipf(1.4, 150), vocab_size - 1)
    ours = ngram_losses(train, targets, vocab_size, END)
    expected = witten_bell(train.tolist(), targets.tolist(), vocab_size)
    assert ours == pytest.approx(dict(expected), rel=1e-12)


def test_probabilities_of_all_tokens_add_up_to_one():
    train = np.array([1, 2, 3, 1, 2, 1, 1])
    total = sum(
        math.exp(-(ngram_losses(train, np.array([1, 2, w]), 6, END)["trigram"]))
        / math.exp(-(ngram_losses(train, np.array([1, 2]), 6, END)["trigram"]))
        for w in range(6)
    )
    assert total == pytest.approx(1)


def test_a_text_with_an_order_is_better_predicted_from_longer_contexts():
    train = np.tile(np.array([1, 2, 3, 1, 3, 2]), 100)
    losses = ngram_losses(train, train[:300], 10, END)
    assert losses["uniform"] > losses["unigram"] > losses["bigram"] > losses["trigram"]


@pytest.fixture
def measured(tmp_path):
    vocabulary = [b"", *(bytes([i]) for i in range(97, 107))]
    tokens = np.random.default_rng(1).integers(1, 11, 5000)
    for name, part in (("train", tokens), ("val", np.append(tokens[:999], END))):
        np.save(tmp_path / f"{name}.npy", part.astype(np.uint16))

    def measure():
        train, val = (
            TokenSplit(tmp_path, [{"file": f"{name}.npy", "tokens": size}])
            for name, size in (("train", 5000), ("val", 1000))
        )
        done = []
        found = baselines_of(train, val, vocabulary, END, done.append)
        assert done[-1] == len(found)
        return found

    return measure


def test_losses_are_per_token_and_bits_per_byte_of_their_text(measured, tmp_path):
    models = {model.name: model for model in measured()}
    assert list(models) == ["uniform", "unigram", "bigram", "trigram", "xz"]
    assert models["uniform"].loss == pytest.approx(math.log(11))
    assert models["uniform"].bits_per_byte == pytest.approx(math.log2(11) * 1000 / 999)
    xz = models["xz"]
    text = bytes(np.load(tmp_path / "val.npy")[:999].astype(np.uint8) + 96)
    assert xz.bits_per_byte == pytest.approx(8 * len(lzma.compress(text)) / 999)
    assert xz.loss == pytest.approx(xz.bits_per_byte * math.log(2) * 999 / 1000)


def test_of_much_text_a_sample_from_all_over_it_is_counted(measured, tmp_path, monkeypatch):
    monkeypatch.setattr(baselines, "MOST_TRAINING_TOKENS", 800)
    monkeypatch.setattr(baselines, "MOST_VALIDATION_TOKENS", 100)
    seen = []
    monkeypatch.setattr(
        baselines, "ngram_losses", lambda train, targets, *_: seen.extend([train, targets]) or {}
    )
    measured()
    whole = np.load(tmp_path / "train.npy")
    np.testing.assert_array_equal(seen[0], np.concatenate([whole[i * 625 : i * 625 + 100] for i in range(8)]))
    assert len(seen[1]) == 100


def test_a_split_of_special_tokens_has_no_bits_per_byte(measured, tmp_path):
    np.save(tmp_path / "val.npy", np.zeros(1000, np.uint16))
    assert [(model.name, model.bits_per_byte) for model in measured()] == [
        (name, None) for name in ("uniform", "unigram", "bigram", "trigram")
    ]
