"""Tokens that are there are told exactly, others about; and nothing is written, fetched or tokenized."""

import os

import pytest

from bittygpt.config import load_config
from bittygpt.data.batches import TrainingBatches
from bittygpt.data.preparation.expected_tokens import bytes_per_token, expect_tokens
from bittygpt.data.preparation.prepare import prepare_tokens
from bittygpt.errors import DataError

TEXT = "<|endoftext|>".join(f"story {i}: the cat sat on the mat and the mat was flat" for i in range(200))


@pytest.fixture
def config(tmp_path, monkeypatch):
    """A function from overrides to a config, in a folder of its own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("BITTYGPT_CACHE", str(tmp_path / "cache"))
    (tmp_path / "text.txt").write_text(TEXT)
    (tmp_path / "c.yaml").write_text(
        "data: {train: [text.txt], dir: tokens}\ntokenizer: {vocab_size: 300}\nmodel: {context_length: 32}\n"
    )
    return lambda *overrides: load_config("c.yaml", overrides)


def files(folder):
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*")}


@pytest.mark.parametrize("windows", ["stream", "documents"])
def test_tokens_on_disk_are_told_exactly(config, tmp_path, windows):
    asked = config(f"data.windows={windows}", "data.val_fraction=0.2")
    made, _ = prepare_tokens(asked, lambda *_: None)
    before = files(tmp_path)
    ahead = expect_tokens(asked)
    assert files(tmp_path) == before
    assert (ahead.train, ahead.val) == (made.split("train").num_tokens, made.split("val").num_tokens)
    assert ahead.vocab_size == made.tokenizer.vocab_size
    assert ahead.vocabulary_bytes == (tmp_path / "tokens/vocab.json").stat().st_size
    end = made.tokenizer.end_of_text_id if windows == "documents" else None
    for name, count in (("train", ahead.windows), ("val", ahead.val_windows)):
        assert count == TrainingBatches(made.split(name), 32, 1, 0, document_end=end).windows_per_epoch
    assert ahead.note == ""


def test_tokens_of_other_settings_are_refused_and_another_text_is_told(config, tmp_path):
    prepare_tokens(config(), lambda *_: None)
    with pytest.raises(DataError, match=r"tokenizer\.vocab_size was 300 and is 299"):
        expect_tokens(config("tokenizer.vocab_size=299"))
    os.utime(tmp_path / "text.txt", ns=(1, 1))
    assert "text.txt may have changed" in expect_tokens(config()).note
    (tmp_path / "text.txt").unlink()
    assert expect_tokens(config()).note == ""


def test_without_tokens_the_size_of_the_text_tells_about_how_many(config, tmp_path):
    before = files(tmp_path)
    ahead = expect_tokens(config("tokenizer.vocab_size=257"))
    assert files(tmp_path) == before
    assert ahead.on_disk is None
    assert ahead.train == round(0.95 * len(TEXT))  # a byte a token
    assert ahead.val == round(0.05 * len(TEXT))
    assert "bittygpt tokenize" in ahead.note
    assert expect_tokens(config("data.val=[text.txt]", "tokenizer.vocab_size=257")).val == len(TEXT)


def test_a_text_that_has_not_been_downloaded_is_not_fetched(config):
    ahead = expect_tokens(config("data.train=['http://127.0.0.1:9/a.txt']"))
    assert (ahead.train, ahead.val, ahead.windows, ahead.val_windows) == (None, None, None, None)
    assert "not known before it is downloaded" in ahead.note


def test_a_text_that_is_not_there_is_an_error(config):
    with pytest.raises(DataError, match=r"no file nowhere\.txt"):
        expect_tokens(config("data.train=[nowhere.txt]"))


def test_the_estimate_is_near_for_the_corpus_that_comes_along(config):
    """quickstart.yaml's: its manifest says 4,894,904 training tokens of 2,000 entries."""
    ahead = expect_tokens(config("data.train=[builtin:stories]", "tokenizer.vocab_size=2000"))
    assert ahead.train == pytest.approx(4_894_904, rel=0.05)
    assert "at 3.9 bytes a token" in ahead.note
    both = expect_tokens(config("data.train=['builtin:stories', text.txt]", "tokenizer.vocab_size=2000"))
    other = 0.95 * len(TEXT) / bytes_per_token(2000 - 257)
    assert both.train == pytest.approx(ahead.train + other, abs=2)


def test_more_merges_make_longer_tokens():
    lengths = [bytes_per_token(merges) for merges in (0, 1, 50, 1000, 9743, 50_000, 10**6)]
    assert lengths == sorted(lengths)
    assert lengths[0] == 1.0
    assert lengths[-1] < 5
