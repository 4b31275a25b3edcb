"""What is copied from the training data, against looking at every run of tokens at every place."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bittygpt.data.analysis import novelty, shingle_index
from bittygpt.data.analysis.near_duplicates import SHINGLE
from bittygpt.data.analysis.novelty import measure_novelty
from bittygpt.data.analysis.shingle_index import open_index
from bittygpt.data.shards import TokenSplit


@pytest.fixture(scope="module")
def index_of(tmp_path_factory):
    """A function that indexes tokens, in shards of so many."""
    numbers = itertools.count()

    def make(tokens, shard):
        folder, described = tmp_path_factory.mktemp("tokens"), []
        for first in range(0, len(tokens), shard):
            name, piece = f"train-{first}.npy", tokens[first : first + shard]
            np.save(folder / name, np.asarray(piece, np.uint16))
            described.append({"file": name, "tokens": len(piece)})
        return open_index(folder, TokenSplit(folder, described), f"{next(numbers):064d}", lambda *_: None)

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


def check(text, tokens, index):
    found = measure_novelty(list(text), index)
    assert (found.longest, found.seen) == by_looking(text, tokens)
    run = list(text[found.first : found.first + found.longest])
    assert any(run == list(tokens[at : at + len(run)]) for at in range(len(tokens) - len(run) + 1))


@settings(max_examples=150)
@given(data=st.data(), letters=st.integers(1, 4), shard=st.integers(5, 80), small=st.booleans())
def test_any_text_against_any_tokens(index_of, data, letters, shard, small):
    """Pieces of the tokens with something else between them, so that long runs are common."""
    token = st.integers(0, letters)
    tokens = data.draw(st.lists(token, min_size=1, max_size=120))
    with pytest.MonkeyPatch.context() as patch:
        if small:
            patch.setattr(shingle_index, "PART", 16)
            patch.setattr(novelty, "BLOCK", 10)
        index = index_of(tokens, shard)
        text = []
        for _ in range(data.draw(st.integers(0, 4))):
            first = data.draw(st.integers(0, len(tokens) - 1))
            text += tokens[first : first + data.draw(st.integers(1, 30))] + data.draw(
                st.lists(token, max_size=3)
            )
        check(text, tokens, index)


def test_random_ids_copy_little_and_a_copy_is_seen(index_of):
    random = np.random.default_rng(0)
    tokens = random.integers(0, 5000, 20_000)
    index = index_of(tokens, 7000)
    noise = random.integers(0, 5000, 100)
    check(noise, tokens, index)
    assert measure_novelty(noise.tolist(), index).longest <= 3
    copied = np.concatenate([noise[:20], tokens[6980:7030], noise[20:40]])
    found = measure_novelty(copied.tolist(), index)
    assert (found.first, found.longest) == (20, 50)
    assert found.seen == pytest.approx(43 / 83)


def test_equal_hashes_are_no_equal_tokens(index_of, monkeypatch):
    """A hash that knows nothing but the first token: still no wrong answer."""
    bad = lambda ids, length=SHINGLE: np.asarray(ids[: len(ids) - length + 1], np.uint64) << np.uint64(60)  # noqa: E731
    monkeypatch.setattr(shingle_index, "shingle_hashes", bad)
    monkeypatch.setattr(novelty, "shingle_hashes", bad)
    random = np.random.default_rng(1)
    tokens = random.integers(0, 3, 500)
    index = index_of(tokens, 200)
    for text in (tokens[100:150], random.integers(0, 3, 40), random.integers(0, 3, 9) + 3):
        check(text, tokens, index)


@pytest.mark.parametrize("text", [[], [3], [3, 1, 4, 1, 5, 9, 2]])
def test_a_text_too_short_for_an_8_gram(index_of, text):
    tokens = np.resize([3, 1, 4, 1, 5, 9], 60)
    found = measure_novelty(text, index_of(tokens, 60))
    assert (found.seen, found.longest) == (None, min(len(text), 6))
