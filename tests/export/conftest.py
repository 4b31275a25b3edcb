"""A vocabulary with merges, trained here."""

import pytest

from bittygpt.tokenizer.bpe_training import train_bpe
from bittygpt.tokenizer.tokenizer import Tokenizer
from tests.words import count_words

TEXT = (
    "The quick brown fox didn't jump over 123 lazy dogs; the foxes jumped over the lazier dogs' houses. " * 20
)


@pytest.fixture(scope="session")
def tokenizer() -> Tokenizer:
    special = ["<|endoftext|>"]
    return Tokenizer(train_bpe(count_words([TEXT], special), 320, special), special)
