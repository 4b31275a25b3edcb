"""What is copied from the training data, against looking at every run of tokens at every place."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bittygpt.data.analysis import novelty
from bittygpt.data.analysis.near_duplicates import SHINGLE
from bittygpt.data.analysis.novelty import measure_novelty
from bittygpt.data.shards import TokenSplit


@pytest.fixture(scope="module")
def split_of(tmp_path_factory):
    """A function that writes tokens, in shards of so many."""

    def make(tokens, shard):
        folder, described = tmp_path_factory.mktemp("tokens"), []
        for first in range(0, len(tokens), shard):
            name, piece = f"train-{first}.npy", tokens[first : first + shard]
            np.save(folder / name, np.asarray(piece, np.uint16))
            described.append({"file": name, "tokens": len(piece)})
        return TokenSplit(folder, described)

    return make


def by_looking(text, tokens):
    """Length of the longest common run, and the share of 8-grams that occur."""
    text, tokens = list(text), list(tokens)
    longest, same = 0, [0] * (len(tokens) + 1)
    for token in text:
        same = [0] + [same[at] + 1 if tokens[at] == token else 0 for at in range(len(tokens))]
        longest = max(longest, *same)
    grams = {tuple(tokens[at : at + SHINGLE]) for at in range(len(tokens) - SHINGLE + 1)}
    of_text = [tuple(text[at : at + SHINGLE]) for at in range(len(text) - SHINGLE + 1)]
    return longest, sum(gram in grams for gram in of_text) / len(of_text) if of_text else None


def check(text, tokens, split):
    found = measure_novelty(list(text), split)
    assert (found.longest, found.seen) == by_looking(text, tokens)
    run = list(text[found.first : found.first + found.longest])
    assert any(run == list(tokens[at : at + len(run)]) for at in range(len(tokens) - len(run) + 1))


@settings(max_examples=150)
@given(data=st.data(), letters=st.integers(1, 4), shard=st.integers(5, 80), small=st.booleans())
def test_any_text_against_any_tokens(split_of, data, letters, shard, small):
    """Pieces of the tokens with something else between them, so that long runs are common."""
    token = st.integers(0, letters)
    tokens = data.draw(st.lists(token, min_size=1, max_size=120))
    with pytest.MonkeyPatch.context() as patch:
        if small:
            patch.setattr(novelty, "BLOCK", 10)
        split = split_of(tokens, shard)
        text = []
        for _ in range(data.draw(st.integers(0, 4))):
            first = data.draw(st.integers(0, len(tokens) - 1))
            text += tokens[first : first + data.draw(st.integers(1, 30))] + data.draw(
                st.lists(token, max_size=3)
            )
        check(text, tokens, split)


def test_random_ids_copy_little_and_a_copy_is_seen(split_of):
    random = np.random.default_rng(0)
    tokens = random.integers(0, 5000, 20_000)
    split = split_of(tokens, 7000)
    noise = random.integers(0, 5000, 100)
    check(noise, tokens, split)
    assert measure_novelty(noise.tolist(), split).longest <= 3
    copied = np.concatenate([noise[:20], tokens[6980:7030], noise[20:40]])
    found = measure_novelty(copied.tolist(), split)
    assert (found.first, found.longest) == (20, 50)
    assert found.seen == pytest.approx(43 / 83)


def test_equal_hashes_are_no_equal_tokens(split_of, monkeypatch):
    """A hash that knows nothing but the first token: still no wrong answer."""
    bad = lambda ids, length=SHINGLE: np.asarray(ids[: len(ids) - length + 1], np.uint64) << np.uint64(60)  # noqa: E731
    monkeypatch.setattr(novelty, "shingle_hashes", bad)
    random = np.random.default_rng(1)
    tokens = random.integers(0, 3, 500)
    split = split_of(tokens, 200)
    for text in (tokens[100:150], random.integers(0, 3, 40), random.integers(0, 3, 9) + 3):
        check(text, tokens, split)


@pytest.mark.parametrize("kind", ["few letters", "one letter", "a loop", "many letters"])
@pytest.mark.parametrize("block", [1, 16, 10**6])
def test_whatever_repeats_and_however_it_is_read(split_of, monkeypatch, kind, block):
    monkeypatch.setattr(novelty, "BLOCK", block)
    random = np.random.default_rng(0)
    tokens = {
        "few letters": random.integers(0, 2, 300),
        "one letter": np.full(300, 7),
        "a loop": np.resize(np.arange(13), 300),
        "many letters": random.integers(0, 60_000, 300),
    }[kind]
    split = split_of(tokens, 120)
    for first, length in ((0, 8), (115, 30), (292, 8), (3, 290)):
        check(tokens[first : first + length], tokens, split)
    check(random.integers(0, 2, 40), tokens, split)


@pytest.mark.parametrize("tokens", [0, 1, 7, 8])
def test_hardly_any_tokens(split_of, tokens):
    found = measure_novelty(list(range(8)), split_of(range(tokens), 60))
    assert (found.longest, found.seen) == (tokens, float(tokens == 8))


@pytest.mark.parametrize("text", [[], [3], [3, 1, 4, 1, 5, 9, 2]])
def test_a_text_too_short_for_an_8_gram(split_of, text):
    tokens = np.resize([3, 1, 4, 1, 5, 9], 60)
    found = measure_novelty(text, split_of(tokens, 60))
    assert (found.seen, found.longest) == (None, min(len(text), 6))
