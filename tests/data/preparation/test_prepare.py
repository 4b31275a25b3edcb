"""Text to tokens: what decides whether finished tokens are taken, and what goes into the vocabulary."""

import json
import os
import shutil
import threading
import time

import pytest

from bittygpt.config import load_config
from bittygpt.data.preparation import prepare, vocabulary_of_corpus
from bittygpt.data.preparation.prepare import prepare_tokens
from bittygpt.data.preparation.report import describe_report
from bittygpt.errors import DataError
from bittygpt.file_lock import file_lock
from bittygpt.tokenizer.bpe_training import train_bpe
from tests.words import count_words

END = "<|endoftext|>"
TEXT = END.join(f"story {i}: the cat sat on the mat and the mat was flat" for i in range(200))


@pytest.fixture
def make(tmp_path, monkeypatch):
    """A function from overrides to prepared tokens, in a folder of its own."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "text.txt").write_text(TEXT)
    (tmp_path / "c.yaml").write_text("data: {train: [text.txt], dir: tokens}\ntokenizer: {vocab_size: 300}\n")
    return lambda *overrides: prepare_tokens(load_config("c.yaml", overrides), lambda *_: None)


def test_the_vocabulary_is_that_of_all_of_data_train(make):
    tokens, made = make()
    assert made
    expected = train_bpe(count_words(TEXT.split(END), [END]), 300, [END])
    assert tokens.tokenizer.vocabulary == expected


def test_a_second_process_waits_and_takes_what_the_first_has_made(tmp_path, make):
    config, said, outcomes = load_config("c.yaml"), [], []
    with file_lock(tmp_path / "tokens" / ".lock", pytest.fail):  # as another process would hold it
        second = threading.Thread(
            target=lambda: outcomes.append(prepare_tokens(config, lambda what, *_: said.append(what)))
        )
        second.start()
        deadline = time.monotonic() + 30
        while not any("waiting for another process" in what for what in said):
            assert time.monotonic() < deadline
            time.sleep(0.01)
        assert sorted(p.name for p in (tmp_path / "tokens").iterdir()) == [".lock"], (
            "nothing is written meanwhile"
        )
        first, made = make("data.dir=elsewhere")
        for file in (tmp_path / "elsewhere").iterdir():
            file.rename(tmp_path / "tokens" / file.name)
    second.join()
    ((tokens, made_again),) = outcomes
    assert made
    assert not made_again
    assert tokens.hash() == first.hash()
    assert not (tmp_path / "tokens" / ".lock").exists()


def test_finished_tokens_are_taken_wherever_the_same_text_lies(make, tmp_path):
    first, _ = make()
    (tmp_path / "text.txt").rename(tmp_path / "moved.txt")
    os.utime(tmp_path / "moved.txt", ns=(1, 1))
    again, made = make("data.train=[moved.txt]")
    assert not made
    assert again.hash() == first.hash()


@pytest.mark.parametrize(
    "override",
    [
        "data.val_fraction=0.2",
        "tokenizer.encoding=bitty",
        "tokenizer.vocab_size=299",
        "data.separator=x",
        "data.val=[text.txt]",
    ],
)
def test_other_settings_or_sources_are_refused(make, override):
    make()
    with pytest.raises(
        DataError, match=r"tokens of other text or settings: .*set data.dir to another folder"
    ):
        make(override)


def test_a_crash_before_the_manifest_leaves_nothing_that_counts(make, monkeypatch, tmp_path):
    expected, _ = make("data.dir=other")
    monkeypatch.setattr(prepare, "write_json", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        make()
    assert not (tmp_path / "tokens/manifest.json").exists()
    monkeypatch.undo()
    monkeypatch.chdir(tmp_path)
    tokens, made = make()
    assert made
    assert tokens.hash() == expected.hash()
    names = sorted(path.name for path in (tmp_path / "tokens").iterdir())
    assert names == sorted(path.name for path in (tmp_path / "other").iterdir())


@pytest.mark.parametrize("damage", ["{", "{}", '{"format": 99}'])
def test_a_damaged_manifest_is_named(make, tmp_path, damage):
    make()
    (tmp_path / "tokens/manifest.json").write_text(damage)
    with pytest.raises(DataError, match=r"manifest\.json is damaged or of another version; delete tokens"):
        make()


def test_another_vocabulary_beside_the_tokens_is_named(make, tmp_path):
    make()
    make("data.dir=other", "tokenizer.vocab_size=280")
    (tmp_path / "other/vocab.json").replace(tmp_path / "tokens/vocab.json")
    with pytest.raises(DataError, match="not the vocabulary that the tokens beside it were made with"):
        make()


def test_a_limit_on_the_text_for_the_vocabulary_is_kept(make, monkeypatch):
    seen = []
    monkeypatch.setattr(
        vocabulary_of_corpus, "train_bpe", lambda words, *rest: seen.append(words) or train_bpe(words, *rest)
    )
    make("tokenizer.train_bytes=3000")
    assert 1000 < sum(len(word) * count for word, count in seen[0].items()) < 6000
    with pytest.raises(DataError, match="1 is too little of this text; raise it"):
        make("tokenizer.train_bytes=1", "data.dir=other")


def test_bytes_and_documents_of_the_manifest_are_those_of_the_text(make, tmp_path):
    tokens, _ = make()
    splits = json.loads((tmp_path / "tokens/manifest.json").read_text())["splits"]
    assert sum(s["documents"] for s in splits.values()) == 200
    assert sum(s["bytes"] for s in splits.values()) == sum(len(d) for d in TEXT.split(END))
    assert tokens.split("train").num_tokens == splits["train"]["tokens"]


def test_files_that_are_not_ours_are_left_alone(make, tmp_path):
    folder = tmp_path / "tokens"
    folder.mkdir()
    (folder / "embeddings-2024.npy").write_bytes(b"mine")
    make()
    assert (folder / "embeddings-2024.npy").read_bytes() == b"mine"


def test_anothers_vocabulary_is_not_overwritten(make, tmp_path):
    make("data.dir=other", "tokenizer.vocab_size=280")
    (tmp_path / "tokens").mkdir()
    before = (tmp_path / "other/vocab.json").read_bytes()
    (tmp_path / "tokens/vocab.json").write_bytes(before)
    with pytest.raises(DataError, match=r"vocab\.json is another vocabulary"):
        make()
    assert (tmp_path / "tokens/vocab.json").read_bytes() == before


def test_finished_tokens_need_no_text(make, tmp_path):
    first, _ = make()
    (tmp_path / "text.txt").unlink()
    again, made = make()
    assert not made
    assert again.hash() == first.hash()
    url = "http://127.0.0.1:9/never-fetched.txt"
    assert make(f"data.train=[{url}]")[0].hash() == first.hash()
    with pytest.raises(DataError, match="there is no file"):
        make("data.dir=new")


def test_sources_that_changed_came_and_went_are_told_apart(make, tmp_path):
    (tmp_path / "old.txt").write_text("gone soon")
    make("data.train=[text.txt,old.txt]")
    (tmp_path / "text.txt").write_text("edited")
    (tmp_path / "new.txt").write_text("new")
    changes = "text.txt has changed; new.txt is new in data.train; old.txt is gone from data.train; set"
    with pytest.raises(DataError, match=f"other text or settings: {changes}"):
        make("data.train=[text.txt,new.txt]")


def test_a_data_val_without_text_is_refused(make, tmp_path):
    (tmp_path / "empty.txt").write_text("")
    with pytest.raises(
        DataError, match=r"data\.val: no text to validate on in empty\.txt; name other sources, or none"
    ):
        make("data.val=[empty.txt]")
    make()  # nothing is left behind that would be in the way


@pytest.mark.parametrize("kind", ["missing", "no JSON", "no bytes"])
def test_of_a_damaged_vocabulary_beside_the_tokens_the_remedy_works(make, tmp_path, kind):
    first, _ = make()
    path = tmp_path / "tokens/vocab.json"
    path.unlink() if kind == "missing" else path.write_text("{" if kind == "no JSON" else "{}")
    with pytest.raises(
        DataError, match=r"tokens/vocab\.json: [^;]*; delete tokens and run the same command again$"
    ):
        make()
    shutil.rmtree(tmp_path / "tokens")
    assert make()[0].hash() == first.hash()


def test_a_damaged_vocabulary_without_tokens_is_to_be_deleted(make, tmp_path):
    (tmp_path / "tokens").mkdir()
    (tmp_path / "tokens/vocab.json").write_text("{")
    with pytest.raises(
        DataError, match=r"tokens/vocab\.json: is not JSON .*; set data\.dir to .*, or delete"
    ):
        make()


def test_a_folder_that_cannot_be_made_names_the_key(make):
    with pytest.raises(DataError, match=r"data\.dir: the folder text\.txt/deep cannot be made"):
        make("data.dir=text.txt/deep")


def test_the_report_says_what_is_in_the_data(make, tmp_path):
    documents = [*TEXT.split(END), "story 3: the cat sat on the mat and the mat was flat", "a tiny one"]
    (tmp_path / "text.txt").write_text(END.join(documents))
    (tmp_path / "val.txt").write_text(END.join([*documents[5:10], "never seen"]))
    tokens, _ = make(
        "data.val=[val.txt]", "train.max_steps=100", "train.batch_size=2", "model.context_length=8"
    )
    report = tokens.manifest["report"]
    assert report["duplicates"] == {"train": 1, "val": 0, "leaked": 5}
    assert report["epochs"] == pytest.approx(100 * 2 * 8 / tokens.split("train").num_tokens, abs=1e-4)
    used = set(tokens.split("train").read(0, tokens.split("train").num_tokens).tolist())
    used |= set(tokens.split("val").read(0, tokens.split("val").num_tokens).tolist())
    assert report["unused_entries"]["number"] == 300 - len(used)
    assert [baseline["name"] for baseline in report["baselines"]] == [
        "uniform",
        "unigram",
        "bigram",
        "trigram",
        "xz",
    ]
    assert report["splits"]["train"]["document_tokens"]["max"] < 60
    lines = describe_report(report, tokens.manifest["splits"])
    assert any("WARNING: validation leaks: 5 of 6 validation documents" in line for line in lines)
    assert any("train: 1 document (0.5%) repeats an earlier one" in line for line in lines)


def test_the_tail_of_a_single_document_is_no_copy_of_it(make, tmp_path):
    (tmp_path / "text.txt").write_text(TEXT.replace(END, "\n"))
    tokens, _ = make("data.val_fraction=0.1")
    assert tokens.manifest["splits"]["val"]["documents"] == 1
    report = tokens.manifest["report"]
    assert report["duplicates"] == {"train": 0, "val": 0, "leaked": 0}
    for split in report["splits"].values():
        assert split["document_tokens"]["p10"] == split["document_tokens"]["max"] > 100


def test_a_file_that_looks_like_a_shard_is_neither_taken_nor_removed(make, tmp_path):
    (tmp_path / "tokens").mkdir()
    (tmp_path / "tokens/train-00000.npy").write_bytes(b"mine")
    with pytest.raises(
        DataError, match=r"train-00000\.npy is there, but nothing that says what it was made of"
    ):
        make()
    assert (tmp_path / "tokens/train-00000.npy").read_bytes() == b"mine"
