"""`bittygpt tokenize` through the real command line."""

import gzip
import hashlib
import json
import signal

import numpy as np
import pyarrow as arrow
import pytest
import zstandard
from pyarrow import parquet

from bittygpt.tokenizer.tokenizer import Tokenizer


@pytest.fixture
def folder(bittygpt):
    return bittygpt.folder / "data" / "tiny"


def test_writes_what_the_contract_says(bittygpt, folder):
    done = bittygpt("tokenize", "tiny.yaml")
    assert "280 entries" in done.stdout
    assert sorted(p.name for p in folder.iterdir()) == [
        "manifest.json",
        "train-00000.npy",
        "val-00000.npy",
        "vocab.json",
    ]
    manifest = json.loads((folder / "manifest.json").read_text())
    tokenizer = Tokenizer.load(folder / "vocab.json")
    texts = {}
    for name, split in manifest["splits"].items():
        array = np.load(folder / split["shards"][0]["file"], mmap_mode="r")
        assert array.dtype == np.uint16
        assert array.ndim == 1
        assert len(array) == split["tokens"]
        assert array[-1] == tokenizer.end_of_text_id
        assert int((array == tokenizer.end_of_text_id).sum()) == split["documents"]
        texts[name] = tokenizer.decode(array.tolist()).split("<|endoftext|>")[:-1]
        assert sum(len(text.encode()) for text in texts[name]) == split["bytes"]
    original = (bittygpt.folder / "text.txt").read_text().split("<|endoftext|>")
    assert sorted(texts["train"] + texts["val"]) == sorted(original)
    assert [t for t in original if t in texts["train"]] == texts["train"]
    assert texts["val"]
    assert manifest["sources"][0]["bytes"] == (bittygpt.folder / "text.txt").stat().st_size


def test_a_second_call_finds_the_tokens_and_other_settings_are_refused(bittygpt, folder):
    bittygpt("tokenize", "tiny.yaml")
    before = {p: p.stat().st_mtime_ns for p in folder.iterdir()}
    assert "already holds" in bittygpt("tokenize", "tiny.yaml").stderr
    refused = bittygpt("tokenize", "tiny.yaml", "tokenizer.vocab_size=270", code=2)
    assert "tokenizer.vocab_size was 280 and is 270" in refused.stderr
    with open(bittygpt.folder / "text.txt", "a") as file:
        file.write("more")
    assert "settings: text.txt has changed; set" in bittygpt("tokenize", "tiny.yaml", code=2).stderr
    assert {p: p.stat().st_mtime_ns for p in folder.iterdir()} == before


def test_json_and_a_given_vocabulary(bittygpt, folder):
    bittygpt("tokenize", "tiny.yaml")
    arguments = ["tokenizer.vocab=data/tiny/vocab.json", "data.dir=again", "tokenizer.encoding=bitty"]
    (bittygpt.folder / "given.yaml").write_text("data: {train: [text.txt], val: [text.txt]}\n")
    report = json.loads(bittygpt("tokenize", "given.yaml", *arguments, "--json").stdout)
    assert report["made"] is True
    assert report["dir"] == "again"
    assert report["tokenizer"]["encoding"] == "bitty"
    assert report["tokenizer"]["vocab_size"] == 280
    assert report["splits"]["train"]["documents"] == report["splits"]["val"]["documents"] == 60
    assert (bittygpt.folder / "again/vocab.json").read_bytes() == (folder / "vocab.json").read_bytes()


def test_special_tokens_in_the_text_are_plain_text(bittygpt):
    text = {"text": "he said <|endoftext|> aloud"}
    (bittygpt.folder / "t.jsonl").write_text((json.dumps(text) + "\n") * 30)
    bittygpt("tokenize", "tiny.yaml", "data.train=[t.jsonl]", "data.val_fraction=0")
    array = np.load(bittygpt.folder / "data/tiny/train-00000.npy")
    assert (array == 0).sum() == 30


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere.yaml"], "nowhere.yaml: no such file"),
        (["tiny.yaml", "data.train=[missing.txt]"], "data.train: there is no file missing.txt"),
        (["tiny.yaml", "tokenizer.vocab_size=10"], "tokenizer.vocab_size"),
        (["tiny.yaml", "model.d_modle=8"], "did you mean model.d_model?"),
        (["tiny.yaml", "data.train=[tiny.yaml]"], "none of the formats that are read"),
        (["tiny.yaml", "data.train=[empty.txt]"], "no text to train on"),
        (["tiny.yaml", "--wrong"], "No such option"),
        ([], "Missing argument"),
    ],
)
def test_faults_of_the_user_are_one_message_and_exit_2(bittygpt, arguments, message):
    (bittygpt.folder / "empty.txt").write_text("")
    assert message in bittygpt("tokenize", *arguments, code=2).stderr
    assert not (bittygpt.folder / "data/tiny/manifest.json").exists()


@pytest.fixture
def larger(bittygpt):
    """Some megabytes, which take some tenths of a second."""
    text = "<|endoftext|>".join(
        f"{i}: " + "the owl and the fox said hello to each other " * 20 for i in range(6000)
    )
    (bittygpt.folder / "larger.txt").write_text(text)
    return [
        "tokenize",
        "tiny.yaml",
        "data.train=[larger.txt]",
        "data.workers=2",
        "tokenizer.train_bytes=100000",
    ]


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.name != "manifest.json"}


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_stopped_at_any_moment_it_goes_on_and_ends_with_the_same_files(bittygpt, larger, number):
    bittygpt(*larger, "data.dir=undisturbed")
    expected = contents(bittygpt.folder / "undisturbed")
    process = bittygpt.start(*larger, "data.dir=stopped")
    message = bittygpt.stop_when("stopped/.unfinished.npz", process, number)
    if number == signal.SIGKILL:
        assert process.returncode == -number
    else:
        assert process.returncode == 75
        # behind it Python may warn of a file that the signal kept from being closed
        assert "bittygpt: interrupted; run the same command again" in message.splitlines()
    assert not (bittygpt.folder / "stopped/manifest.json").exists()
    refused = bittygpt(*larger, "data.dir=stopped", "tokenizer.vocab_size=270", code=2)
    assert "holds unfinished tokens of other text or settings: tokenizer.vocab_size" in refused.stderr
    bittygpt(*larger, "data.dir=stopped")
    assert contents(bittygpt.folder / "stopped") == expected


def test_the_report_is_printed_and_kept(bittygpt, folder):
    text = (bittygpt.folder / "text.txt").read_text()
    (bittygpt.folder / "twice.txt").write_text(text + "<|endoftext|>" + text)
    done = bittygpt(
        "tokenize", "tiny.yaml", "data.train=[text.txt]", "data.val=[twice.txt]", "data.val_fraction=0"
    )
    assert "WARNING: validation leaks: 120 of 120 validation documents" in done.stdout
    assert "val: 60 documents (50.0%) repeat an earlier one" in done.stdout
    assert "trigram" in done.stdout
    report = json.loads((folder / "manifest.json").read_text())["report"]
    assert report["duplicates"] == {"train": 0, "val": 60, "leaked": 120}
    assert set(report) == {
        *("splits", "duplicates", "near_duplicates", "unused_entries", "epochs", "baselines"),
    }
    trained = bittygpt("train", "tiny.yaml", "data.val=[twice.txt]", "data.val_fraction=0")
    assert "simple models lose, in nats per token: uniform 5.63" in trained.stderr
    assert "next: " in trained.stderr


def test_formats_of_all_kinds_give_the_tokens_of_the_plain_text(bittygpt, folder):
    documents = (bittygpt.folder / "text.txt").read_text().split("<|endoftext|>")
    bittygpt("tokenize", "tiny.yaml")
    plain = np.load(folder / "train-00000.npy")
    (bittygpt.folder / "a.txt.gz").write_bytes(gzip.compress("<|endoftext|>".join(documents[:20]).encode()))
    lines = "".join(json.dumps({"text": text}) + "\n" for text in documents[20:40])
    (bittygpt.folder / "b.jsonl.zst").write_bytes(zstandard.ZstdCompressor().compress(lines.encode()))
    parquet.write_table(arrow.table({"text": documents[40:]}), bittygpt.folder / "c.parquet")
    bittygpt("tokenize", "tiny.yaml", "data.train=[a.txt.gz,b.jsonl.zst,c.parquet]", "data.dir=mixed")
    np.testing.assert_array_equal(np.load(bittygpt.folder / "mixed/train-00000.npy"), plain)


def test_broken_records_are_an_error_or_counted(bittygpt, folder):
    (bittygpt.folder / "a.jsonl").write_text('{"text": "one owl"}\n{"text": 2}\n' * 9)
    arguments = ["tokenize", "tiny.yaml", "data.train=[a.jsonl]", "data.val_fraction=0"]
    assert "a.jsonl:2: not a JSON object" in bittygpt(*arguments, code=2).stderr
    assert not list(folder.glob("*"))
    done = bittygpt(*arguments, "data.on_bad_record=skip")
    assert "9 broken records were left out" in done.stdout
    assert json.loads((folder / "manifest.json").read_text())["skipped_records"] == 9


def test_two_at_once_make_the_tokens_once(bittygpt, folder):
    processes = [bittygpt.start("tokenize", "tiny.yaml", "--json") for _ in range(2)]
    outputs = [process.communicate(timeout=60) for process in processes]
    assert [process.returncode for process in processes] == [0, 0], outputs
    manifest = json.loads((folder / "manifest.json").read_text())
    for split in manifest["splits"].values():
        for shard in split["shards"]:
            assert hashlib.sha256((folder / shard["file"]).read_bytes()).hexdigest() == shard["sha256"]
    assert not [path for path in folder.iterdir() if path.name.startswith(".")]


@pytest.mark.parametrize(
    "command",
    [["tokenize"], ["train", "--plan"], ["train", "--check"]],
    ids=" ".join,
)
def test_a_reader_that_leaves_changes_nothing(bittygpt, command):
    code, said = bittygpt.unread(*command, "tiny.yaml")
    assert code == 0, said
    assert "Error" not in said
