"""`sample --novelty` through the real command line: what a model has by heart, and what it has not."""

import json
import shutil
from collections import Counter

import pytest

from bittygpt.commands.sample import novelty as module
from bittygpt.config import load_config
from bittygpt.training.checkpoints.checkpoint_folder import find_checkpoint

TEXT = "<|endoftext|>".join(
    f"{number} owls met {name} by the river and asked for {thing}, but nobody there had ever seen any.\n"
    for number in ("Two", "Nine", "Some", "Forty")
    for name in ("Mia", "a heron", "the postman", "old Tom")
    for thing in ("pears", "a boat", "more light", "their hats")
)
LEARN = [
    "optim.lr=1e-2",
    "train.max_steps=150",
    "train.save_every=150",
    "train.eval_every=150",
    "train.batch_size=16",
]

SHAPE = ["model.d_model=32", "model.context_length=64", "tokenizer.vocab_size=300"]


@pytest.fixture(scope="module")
def by_heart(command_line, tmp_path_factory):
    """A folder with a run that has been through a small text many times."""
    line = command_line(tmp_path_factory.mktemp("by_heart"))
    (line.folder / "text.txt").write_text(TEXT)
    line("train", "tiny.yaml", *LEARN, *SHAPE)
    return line


def novelty(line, *options):
    done = line("sample", "--ckpt", "runs/tiny", "--novelty", "--json", *options)
    return [json.loads(text) for text in done.stdout.splitlines()], done.stderr


def test_a_model_that_knows_its_text_by_heart_copies_and_it_is_said_what(by_heart):
    (record,), said = novelty(
        by_heart, "--prompt", "Two owls met", "--temperature", "0", "--max-tokens", "40"
    )
    measured = record["novelty"]
    assert list(measured) == ["longest_copied_tokens", "longest_copied_text", "seen_8grams"]
    assert measured["longest_copied_tokens"] >= 15
    assert measured["seen_8grams"] > 0.5
    assert measured["longest_copied_text"] in TEXT
    assert measured["longest_copied_text"] in record["text"]
    of = f"{measured['longest_copied_tokens']} of {len(record['tokens'])} tokens in a row: "
    assert of + repr(measured["longest_copied_text"]) in said


def test_a_text_is_measured_once_for_its_record_and_its_line(by_heart, monkeypatch):
    """Each time all training tokens are read."""
    monkeypatch.chdir(by_heart.folder)
    counts = Counter()
    measure = module.measure_novelty
    monkeypatch.setattr(module, "measure_novelty", lambda *a: counts.update(["measured"]) or measure(*a))
    checkpoint = find_checkpoint("runs/tiny", print)
    meter = module.NoveltyMeter(load_config(checkpoint / "config.yaml", []), checkpoint)
    ids = meter.tokenizer.encode("Two owls met Mia by the river")
    assert f"{meter.fields(ids)['longest_copied_tokens']} of {len(ids)} tokens" in meter.line(ids)
    assert counts == {"measured": 1}


def test_wild_sampling_copies_little_and_each_sample_has_its_line(by_heart):
    wild = ["--temperature", "50", "--num-samples", "3", "--max-tokens", "60", "--ignore-eos"]
    records, said = novelty(by_heart, "--prompt", "Two owls met", *wild)
    assert all(record["novelty"]["longest_copied_tokens"] < 8 for record in records)
    assert [record["novelty"]["seen_8grams"] for record in records] == [0.0] * 3
    assert said.count("novelty: 0% of the 8-grams are in the training data, and ") == 3


def test_a_text_without_8_grams_has_a_whole_sentence(by_heart):
    (record,), said = novelty(by_heart, "--prompt", "Two owls met", "--max-tokens", "5", "--ignore-eos")
    longest = record["novelty"]["longest_copied_tokens"]
    assert f"novelty: {longest} of 5 tokens in a row are in the training data: " in said


def test_it_is_measured_only_where_asked_for_and_writes_nothing(by_heart):
    before = sorted(by_heart.folder.rglob("*"))
    novelty(by_heart)
    assert sorted(by_heart.folder.rglob("*")) == before
    plain = by_heart("sample", "--ckpt", "runs/tiny", "--json")
    assert "novelty" not in json.loads(plain.stdout)
    assert "novelty" not in plain.stderr


def test_without_the_tokens_it_says_where_they_should_be(trained, bittygpt):
    shutil.copytree(trained.folder / "runs", bittygpt.folder / "runs")
    done = bittygpt("sample", "--ckpt", "runs/tiny", "--novelty", code=2)
    assert "there are none in data/tiny; call it where the run was trained" in done.stderr
    assert done.stdout == ""


def test_other_tokens_than_those_of_the_run_are_refused(trained, bittygpt):
    shutil.copytree(trained.folder / "runs", bittygpt.folder / "runs")
    bittygpt("tokenize", "tiny.yaml", "tokenizer.vocab_size=270")
    done = bittygpt("sample", "--ckpt", "runs/tiny", "--novelty", code=2)
    assert "data/tiny holds others than runs/tiny/checkpoints/step-00000012 was trained on" in done.stderr
