"""A megabyte of real text and half of another of what is unlikely: the same ids in tokenizers and in llama.cpp.

`tokenizer.json` is the same file in every format but gguf, so that one comparison stands for all.
"""

import json
import random
import sysconfig
import unicodedata
from pathlib import Path

import pytest

from bittygpt.core import ModelConfig, TransformerLM
from bittygpt.export.gguf.file import write_gguf
from bittygpt.export.gguf.llama_cpp import ask_llama_cpp
from bittygpt.export.huggingface.tokenizer import encode_with_special_tokens, tokenizer_files
from bittygpt.tokenizer.bpe_training import train_bpe
from bittygpt.tokenizer.tokenizer import Tokenizer
from tests.words import count_words

SPECIAL = ["<|endoftext|>", "<|pad|>"]
SHAKESPEARE = Path(__file__).resolve().parents[3] / "shared/data/tinyshakespeare.txt"


def library() -> str:
    """A megabyte of the standard library's source."""
    found = ""
    for path in sorted(Path(sysconfig.get_path("stdlib")).glob("*.py")):
        found += path.read_text("utf-8", "ignore")
        if len(found) > 1_000_000:
            break
    return found[:1_000_000]


def unlikely() -> str:
    """Characters of all kinds, runs, NULs, special tokens whole and in pieces."""
    drawn = random.Random(0)
    known = [chr(i) for i in range(0x20000) if unicodedata.category(chr(i)) not in ("Cn", "Cs")]
    parts = ["".join(drawn.choices(known, k=drawn.randint(1, 12))) for _ in range(20_000)]
    pieces = [*SPECIAL, "<|", "|>", "<|endoftext", "\x00", "\r\n", "\u00a0", "'ll", " 's", "e\u0301"]
    runs = [character * drawn.randint(2, 60) for character in "a \n\t\x00!0é日" for _ in range(50)]
    mixed = [*parts, *runs, *drawn.choices(pieces, k=3000)]
    drawn.shuffle(mixed)
    return "".join(mixed)


@pytest.fixture(scope="module")
def texts() -> list[str]:
    real = SHAKESPEARE.read_text("utf-8") if SHAKESPEARE.exists() else ""
    return [text for text in (library(), real, unlikely()) if text]


@pytest.fixture(scope="module")
def ours(texts) -> Tokenizer:
    sample = "".join(text[:200_000] for text in texts[:-1])
    return Tokenizer(train_bpe(count_words([sample], SPECIAL), 1500, SPECIAL), SPECIAL)


@pytest.fixture(scope="module")
def expected(ours, texts) -> list[list[int]]:
    ids = [encode_with_special_tokens(ours, text) for text in texts]
    assert ours.decode(ids[-1]) == texts[-1]
    assert {0, 1} <= set(ids[-1])
    return ids


def test_tokenizers_gives_our_ids(ours, texts, expected):
    tokenizers = pytest.importorskip("tokenizers")
    files = tokenizer_files(ours, 64)
    theirs = tokenizers.Tokenizer.from_str(json.dumps(files["tokenizer.json"]))
    for text, ids in zip(texts, expected, strict=True):
        assert theirs.encode(text, add_special_tokens=False).ids == ids
        assert theirs.decode(ids, skip_special_tokens=False) == text


def test_llama_cpp_gives_our_ids(ours, texts, expected, tmp_path):
    pytest.importorskip("xllamacpp")
    model = TransformerLM(ModelConfig(ours.vocab_size, 16, 32, 1, 2, d_ff=32))
    assert write_gguf(tmp_path / "a.gguf", "a", model, ours, "float32") == ""
    questions = {"vocab_size": ours.vocab_size, "letter": ours.encode("a")[0], "prompts": [], "greedy": [0]}
    answers = ask_llama_cpp(tmp_path / "a.gguf", {**questions, "count": 1, "texts": texts})
    for found, ids in zip(answers["tokens"], expected, strict=True):
        assert found == ids
