"""The vocabulary is bitty-tokenizer's, entry for entry, and that of the definition."""

import argparse
import ast
import json
import subprocess
import sys
from collections import Counter
from itertools import pairwise
from pathlib import Path

import pytest
import regex
from bitty.train import GPT_2_PATTERN
from hypothesis import given
from hypothesis import strategies as st

from bittygpt.errors import DataError
from bittygpt.tokenizer.bpe_training import train_bpe
from bittygpt.tokenizer.vocabulary import write_vocabulary
from tests.words import count_words

END_OF_TEXT = "<|endoftext|>"
BYTES = [bytes([value]) for value in range(256)]

# bitty fails where a text has no pair left at all, so that each text ends in a word whose pairs occur once.
ADVERSARIAL_TEXTS = {
    "runs of one letter": "aaaa aaaaaaa aaa aaaaa aaaaaaaaaaaaa aa a bbb bbbb xyz",
    "runs of two": "abababa ababab bababab aabbaabb abaaba xyz",
    "ties": "ab cd ef ab cd ef zy zy zyx abz a ab abc abcd abcde xyz",
    "ties between a token and its prefix": "qa qab qa qab qabc qabc \u00ffq \u00ffq xyz",
    "separators": f"one two{END_OF_TEXT}two one one{END_OF_TEXT}{END_OF_TEXT}<|endof one two <|endof xyz",
    "unicode": "naïve café naïve 中文中文字 日本日本 🙂🙂🙂 é e\u0301 ＡＢ ＡＢ ½½ \u00a0\u00a0\u2003 xyz",
    "white space": "a  b   c\n\n\nd \n e\t\tf  \n\n  g\r\nh\r\n it's we've I'll xyz   ",
}

BITTY_TRAINING = """
import sys, bitty
if __name__ == "__main__":
    for arguments in zip(sys.argv[2::2], sys.argv[3::2]):
        bitty.Tokenizer(dataset_path=arguments[0], save_path=arguments[1],
                        special_tokens=[b"<|endoftext|>"], num_merges=int(sys.argv[1]))
"""


def real_text() -> str:
    """Sixty thousand characters of Shakespeare, or of Python's own source where that text is not at hand."""
    repository = Path(__file__).parents[2]
    for folder in (repository, repository.parent):
        text = folder / "shared" / "data" / "tinyshakespeare.txt"
        if text.is_file():
            return text.read_text(encoding="utf-8")[:60_000]
    return Path(argparse.__file__).read_text(encoding="utf-8")[:60_000]


def train_with_bitty(texts: list[str], folder: Path, vocab_size: int) -> list[Path]:
    """The vocab.json of each text. bitty prints and starts processes: it gets a process of its own."""
    script = folder / "train_with_bitty.py"
    script.write_text(BITTY_TRAINING)
    paths = []
    for index, text in enumerate(texts):
        (folder / f"{index}.txt").write_bytes(text.encode())
        paths += [folder / f"{index}.txt", folder / f"{index}.json"]
    subprocess.run(
        [sys.executable, script, str(vocab_size), *paths], stdout=subprocess.DEVNULL, check=True, timeout=120
    )
    return paths[1::2]


def tokens_of(path: Path) -> list[bytes]:
    return [ast.literal_eval(literal) for literal in json.loads(path.read_text()).values()]


def train_by_definition(word_counts: dict[str, int], vocab_size: int) -> list[bytes]:
    """Counts all pairs anew before each merge."""
    tokens = [END_OF_TEXT.encode(), *BYTES]
    words = [([bytes([b]) for b in word.encode()], count) for word, count in word_counts.items()]
    while len(tokens) < vocab_size:
        pairs: Counter[tuple[bytes, bytes]] = Counter()
        for word, count in words:
            for left, right in pairwise(word):
                pairs[left, right] += count
        best = max(pairs, key=lambda pair: (pairs[pair], pair), default=None)
        if best is None or pairs[best] == 1:
            break
        tokens.append(best[0] + best[1])
        for word, _ in words:
            i = 0
            while i < len(word) - 1:
                if (word[i], word[i + 1]) == best:
                    word[i : i + 2] = [tokens[-1]]
                i += 1
    return tokens


def train(text: str, vocab_size: int) -> list[bytes]:
    return train_bpe(count_words([text], [END_OF_TEXT]), vocab_size, [END_OF_TEXT])


def test_vocabulary_of_real_text_is_bittys_entry_for_entry_and_its_file_byte_for_byte(tmp_path: Path) -> None:
    half = real_text()
    text = half[:30_000] + END_OF_TEXT + half[30_000:]
    (bittys_file,) = train_with_bitty([text], tmp_path, vocab_size=500)

    vocabulary = train(text, 500)

    assert len(vocabulary) == 500
    assert vocabulary == tokens_of(bittys_file)
    write_vocabulary(tmp_path / "ours.json", vocabulary)
    assert (tmp_path / "ours.json").read_bytes() == bittys_file.read_bytes()


def test_vocabulary_of_adversarial_texts_is_bittys(tmp_path: Path) -> None:
    bittys_files = train_with_bitty(list(ADVERSARIAL_TEXTS.values()), tmp_path, vocab_size=400)

    for text, bittys_file in zip(ADVERSARIAL_TEXTS.values(), bittys_files, strict=True):
        vocabulary = train(text, 400)
        assert vocabulary == tokens_of(bittys_file)
        assert 257 < len(vocabulary) < 400, "the text is meant to run out of pairs that occur twice"


@given(st.dictionaries(st.text("abc", min_size=1, max_size=30), st.integers(1, 5), max_size=20))
def test_vocabulary_is_that_of_the_definition(word_counts: dict[str, int]) -> None:
    assert train_bpe(word_counts, 300, [END_OF_TEXT]) == train_by_definition(word_counts, 300)


def test_vocabulary_of_real_text_is_that_of_the_definition_beyond_the_merges_that_bitty_is_given_time_for() -> (
    None
):
    word_counts = count_words([real_text()[:10_000]], [END_OF_TEXT])
    assert train_bpe(word_counts, 800, [END_OF_TEXT]) == train_by_definition(word_counts, 800)


def test_merging_ends_where_every_pair_occurs_once() -> None:
    assert train("abc", 300) == [END_OF_TEXT.encode(), *BYTES]
    assert train("", 300) == [END_OF_TEXT.encode(), *BYTES]
    assert train("aaa", 300)[257:] == [b"aa"], "in aaa the pair occurs twice, overlapping"


def test_words_are_those_of_bittys_pattern_between_special_tokens() -> None:
    parts = ["It's 12  o'clock!\n\n", " <|endof text|> ", "the end "]
    expected = Counter(word for part in parts for word in regex.findall(GPT_2_PATTERN, part))
    assert count_words([END_OF_TEXT.join(parts)], [END_OF_TEXT]) == expected


def test_the_first_of_two_special_tokens_that_begin_alike_divides_the_text() -> None:
    assert count_words(["x<a>bx"], ["<a>", "<a>b"]) == {"x": 1, "bx": 1}
    assert count_words(["x<a>bx"], ["<a>b", "<a>"]) == {"x": 2}


def test_counts_of_parts_add_up_to_the_counts_of_the_whole() -> None:
    documents = ["one two two", "two three", "", "one"]
    parts = count_words(documents[:2], [END_OF_TEXT]) + count_words(documents[2:], [END_OF_TEXT])
    assert parts == count_words(documents, [END_OF_TEXT]) == {"one": 2, " two": 2, "two": 1, " three": 1}


def test_without_special_tokens_the_vocabulary_begins_with_the_bytes() -> None:
    assert train_bpe(count_words(["ab ab"], []), 257, []) == [*BYTES, b"ab"]


def test_half_a_surrogate_pair_is_counted_as_the_replacement_character() -> None:
    assert count_words(["a\ud83d"], []) == {"a": 1, "\ufffd": 1}


def test_progress_counts_the_merges() -> None:
    calls: list[tuple[int, int]] = []
    train_bpe(Counter({"abab": 5}), 261, [END_OF_TEXT], lambda done, of: calls.append((done, of)))
    assert calls == [(1, 4), (2, 4)]


def test_a_vocabulary_without_room_for_the_bytes_is_refused() -> None:
    with pytest.raises(DataError, match=r"vocab_size is 256, but 1 special tokens and 256 bytes need 257"):
        train_bpe({}, 256, [END_OF_TEXT])


@pytest.mark.parametrize("special_tokens", [[""], ["a"], ["\ud83d\ud83d"], ["<s>", "<s>"]])
def test_special_tokens_that_cannot_be_entries_of_their_own_are_refused(special_tokens: list[str]) -> None:
    with pytest.raises(DataError, match=r"special token .* under tokenizer\.special_tokens"):
        train_bpe({}, 300, special_tokens)
