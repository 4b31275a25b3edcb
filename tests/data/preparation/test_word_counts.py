"""Words counted by way of chunks, in parts and in samples, against the definition."""

from collections import Counter

import pytest
import regex
from hypothesis import given
from hypothesis import strategies as st

from bittygpt.data.preparation import word_counts
from bittygpt.data.preparation.word_counts import CountingJob, WordCounter
from bittygpt.text.documents import ReadOptions
from bittygpt.text.pieces import Block, Position
from bittygpt.tokenizer.pretokenization import GPT_2_PATTERN
from tests.words import count_words

END = "<|endoftext|>"
TEXTS = st.text("aab'st  \n\t\u00a0\u3000\x1c1½é中.,<|endoftext|>", max_size=60)


def by_definition(texts, special_tokens):
    splitter = "|".join(map(regex.escape, special_tokens))
    return Counter(
        word
        for text in texts
        for segment in regex.split(splitter, text)
        for word in regex.findall(GPT_2_PATTERN, segment)
    )


@given(texts=st.lists(TEXTS))
def test_words_are_those_of_the_pattern(texts):
    assert count_words(texts, [END]) == by_definition(texts, [END])


@given(texts=st.lists(TEXTS, min_size=1))
def test_counts_do_not_depend_on_how_many_chunks_are_held(texts):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(word_counts, "_MOST_CHUNKS", 2)
        assert count_words(texts, [END]) == by_definition(texts, [END])


def test_a_special_token_that_begins_another_is_taken_in_the_given_order():
    text = "a<|end|>b<|end|>er|>c"
    assert count_words([text], ["<|end|>", "<|end|>er|>"]) == Counter(
        {"a": 1, "b": 1, "er": 1, "|>": 1, "c": 1}
    )
    assert count_words([text], ["<|end|>er|>", "<|end|>"]) == Counter({"a": 1, "b": 1, "c": 1})


def block(texts):
    return Block(Position(), Position(1), 0, "texts", "texts", texts)


def test_parts_counted_apart_add_up():
    texts = [f"the cat {i} sat on the mat" for i in range(50)]
    options = ReadOptions(END, "text", False)
    total: Counter[str] = Counter()
    for part in (texts[:20], texts[20:]):
        job = CountingJob([END], options, 1.0)
        assert job((block(part), 7)) == 7
        total += job.result()
    assert total == count_words(texts, [END])


@pytest.mark.parametrize(
    "texts", [[f"{i:010} " for i in range(5000)], ["".join(f"{i:010} " for i in range(100_000))]]
)
def test_a_sample_is_spread_over_the_text_and_about_as_large_as_asked(texts, monkeypatch):
    monkeypatch.setattr(word_counts, "_SAMPLE_CHARACTERS", 1000)
    job = CountingJob([END], ReadOptions(END, "text", False), 0.2)
    job((block(texts), 0))
    numbers = sorted(int(word) for word in job.result() if word.strip())
    most = sum(text.count(" ") for text in texts)
    assert 0.1 * most < len(numbers) < 0.3 * most
    assert numbers[0] < 0.1 * most
    assert numbers[-1] > 0.9 * most


def test_a_sample_does_not_depend_on_what_stands_beside_a_document():
    texts = [f"document{i}" for i in range(200)]
    options = ReadOptions(END, "text", False)
    whole, parts = CountingJob([END], options, 0.5), CountingJob([END], options, 0.5)
    whole((block(texts), 0))
    for text in reversed(texts):
        parts((block([text]), 0))
    assert whole.result() == parts.result()


def test_a_counter_goes_on_after_its_result():
    counter = WordCounter([END])
    counter.add("one two")
    assert counter.result() == Counter({"one": 1, " two": 1})
    counter.add("one")
    assert counter.result()["one"] == 2
