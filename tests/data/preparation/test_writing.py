"""The promise of `tokenize`: one text, one set of files, however it is cut, shared out, and interrupted."""

import json
import random
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bittygpt.config import load_config
from bittygpt.data import shards
from bittygpt.data.preparation import prepare, writing
from bittygpt.data.preparation.journal import JOURNAL, read_journal
from bittygpt.data.preparation.prepare import prepare_tokens
from bittygpt.errors import DataError
from bittygpt.text import blocks, long_document
from bittygpt.text.documents import digest_of
from bittygpt.tokenizer.tokenizer import Tokenizer

END = "<|endoftext|>"
WORDS = [
    "owl",
    "fox",
    "naïve",
    "🦉",
    "\r\n",
    "<|endoftext",
    "  ",
    "\n\n\n",
    "中文中文",
    "it's",
    "\0",
    "x" * 40,
]
DOCUMENTS = st.lists(
    st.one_of(
        st.text("ab \n'é🦉\u00a0\x1c0", max_size=80),
        st.lists(st.sampled_from(WORDS), max_size=30).map(" ".join),
    ),
    max_size=12,
)


class Interrupted(BaseException):
    """What a signal handler raises."""


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def tokenize(tmp_path: Path, folder: str, *overrides: str, on_progress=lambda *_: None) -> dict[str, bytes]:
    config = load_config(tmp_path / "c.yaml", [f"data.dir={tmp_path / folder}", *overrides])
    prepare_tokens(config, on_progress)
    return files(tmp_path / folder)


@pytest.fixture
def corpus(tmp_path, monkeypatch):
    """A folder with c.yaml, text.txt of 400 documents, one of them long, and small blocks, stretches and shards."""
    for module, name, value in (
        (blocks, "READ_SIZE", 700),
        (blocks, "BLOCK_BYTES", 900),
        (blocks, "LONG_DOCUMENT", 3000),
        (long_document, "READ_SIZE", 600),
        (long_document, "STRETCH_CHARACTERS", 500),
        (shards, "SHARD_TOKENS", 2500),
        (writing, "SAVE_EVERY", 0),
    ):
        monkeypatch.setattr(module, name, value)
    rng = random.Random(0)
    texts = [" ".join(rng.choices(WORDS, k=rng.randrange(1, 40))) for _ in range(400)]
    texts[100], texts[200] = " ".join(rng.choices(WORDS, k=4000)), texts[7]
    (tmp_path / "text.txt").write_text(END.join(texts), newline="")
    (tmp_path / "c.yaml").write_text(
        f"data: {{train: [{tmp_path / 'text.txt'}], val_fraction: 0.1}}\ntokenizer: {{vocab_size: 300}}\n"
    )
    return texts


def without_times(manifest: bytes) -> dict:
    content = json.loads(manifest)
    for source in content["sources"]:
        del source["mtime_ns"]
    return content


def assert_same(a: dict[str, bytes], b: dict[str, bytes]) -> None:
    assert list(a) == list(b)
    for name in a:
        if name == "manifest.json":
            assert without_times(a[name]) == without_times(b[name])
        else:
            assert a[name] == b[name], name


def test_the_tokens_are_the_documents_of_their_splits_in_order(tmp_path, corpus):
    tokenize(tmp_path, "t")
    manifest = json.loads((tmp_path / "t/manifest.json").read_text())
    tokenizer = Tokenizer.load(tmp_path / "t/vocab.json")
    held_out = [text for text in corpus if digest_of(text) < int(0.1 * 2**64)]
    for name, texts in (("train", [t for t in corpus if t not in held_out]), ("val", held_out)):
        parts = [np.load(tmp_path / "t" / shard["file"]) for shard in manifest["splits"][name]["shards"]]
        assert all(len(part) == 2500 for part in parts[:-1])
        ids = [i for text in texts for i in [*tokenizer.encode(text), 0]]
        assert np.concatenate(parts).tolist() == ids
        assert manifest["splits"][name]["documents"] == len(texts)
        assert manifest["splits"][name]["bytes"] == sum(len(text.encode()) for text in texts)
    assert len(manifest["splits"]["train"]["shards"]) > 3


@pytest.mark.usefixtures("corpus")
@pytest.mark.parametrize("workers", [2, 3])
def test_files_do_not_depend_on_the_number_of_workers(tmp_path, workers):
    assert_same(tokenize(tmp_path, "one"), tokenize(tmp_path, "many", f"data.workers={workers}"))


@pytest.mark.usefixtures("corpus")
@pytest.mark.parametrize(
    ("read", "block", "long", "stretch"), [(50, 60, 10**6, 1), (10**6, 10**6, 100, 30), (3, 5, 7, 9)]
)
def test_files_do_not_depend_on_where_blocks_end(tmp_path, monkeypatch, read, block, long, stretch):
    """But for the near duplicates, which are not looked for among documents too long for a block."""
    before = tokenize(tmp_path, "before")
    monkeypatch.setattr(blocks, "READ_SIZE", read)
    monkeypatch.setattr(blocks, "BLOCK_BYTES", block)
    monkeypatch.setattr(blocks, "LONG_DOCUMENT", long)
    monkeypatch.setattr(long_document, "STRETCH_CHARACTERS", stretch)
    after = tokenize(tmp_path, "after")
    reports = [without_times(found.pop("manifest.json")) for found in (before, after)]
    for report in reports:
        del report["report"]["near_duplicates"]
    assert reports[0] == reports[1]
    assert before == after


@pytest.mark.usefixtures("corpus")
@pytest.mark.parametrize("stop_at", [1, 2, 5, 17, 30, 10**6])
def test_an_interrupted_call_goes_on_and_ends_with_the_same_files(tmp_path, stop_at):
    expected = tokenize(tmp_path, "undisturbed")
    calls = 0
    while True:
        seen = 0

        def interrupt(what, *_):
            nonlocal seen
            seen += what == "encoding"
            if seen == stop_at:
                raise Interrupted

        try:
            found = tokenize(tmp_path, "t", on_progress=interrupt)
            break
        except Interrupted:
            calls += 1
            journal = read_journal(tmp_path / "t")
            assert journal is not None
            assert journal.progress.splits["train"].tokens
            # as a kill in the midst of writing the journal leaves it
            (tmp_path / "t/..unfinished.npz.12-34.tmp").write_bytes(b"PK")
            assert calls < 500
    assert_same(found, expected)
    assert (calls > 10) == (stop_at < 10)


@pytest.mark.usefixtures("corpus")
def test_finished_shards_are_not_written_again(tmp_path):
    def interrupt(what, done, total):
        if what == "encoding" and done > 0.8 * total:
            raise Interrupted

    with pytest.raises(Interrupted):
        tokenize(tmp_path, "t", on_progress=interrupt)
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "t").glob("*.npy")}
    done = []
    tokenize(tmp_path, "t", on_progress=lambda what, *rest: done.append(rest) if what == "encoding" else None)
    assert len(before) > 2
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert done[0][0] > 0.75 * done[0][1]


def interrupt_half_way(what, done, total):
    if what == "encoding" and done > total / 2:
        raise Interrupted


@pytest.mark.usefixtures("corpus")
@pytest.mark.parametrize(
    "override", ["tokenizer.vocab_size=290", "data.val_fraction=0.2", "data.separator=x"]
)
def test_unfinished_tokens_are_not_mixed_with_those_of_other_settings(tmp_path, override):
    with pytest.raises(Interrupted):
        tokenize(tmp_path, "t", on_progress=interrupt_half_way)
    before = files(tmp_path / "t")
    with pytest.raises(
        DataError, match=r"holds unfinished tokens of other text or settings: .*delete this one"
    ):
        tokenize(tmp_path, "t", override)
    with open(tmp_path / "text.txt", "a") as file:
        file.write("more")
    with pytest.raises(DataError, match=r"text\.txt has changed; set data\.dir"):
        tokenize(tmp_path, "t")
    assert files(tmp_path / "t") == before


@pytest.mark.usefixtures("corpus")
def test_broken_records_may_be_skipped_from_where_they_stopped_the_call(tmp_path):
    tokenize(tmp_path, "other")
    config = (tmp_path / "c.yaml").read_text()
    (tmp_path / "c.yaml").write_text(
        config.replace("vocab_size: 300", f"vocab: {tmp_path / 'other/vocab.json'}")
    )
    data = (tmp_path / "text.txt").read_bytes() + END.encode() + b"bad \xff byte" + END.encode() + b"good"
    (tmp_path / "text.txt").write_bytes(data)
    with pytest.raises(DataError, match="is not UTF-8"):
        tokenize(tmp_path, "t")
    assert (tmp_path / "t" / JOURNAL).exists()
    tokenize(tmp_path, "t", "data.on_bad_record=skip")
    manifest = json.loads((tmp_path / "t/manifest.json").read_text())
    assert manifest["skipped_records"] == 1
    assert sum(split["documents"] for split in manifest["splits"].values()) == 401
    with pytest.raises(DataError, match=r"data\.on_bad_record was 'skip' and is 'error'"):
        tokenize(tmp_path, "t")


@pytest.mark.usefixtures("corpus")
def test_a_call_that_the_input_stopped_before_the_first_shard_leaves_nothing(tmp_path):
    (tmp_path / "text.txt").write_bytes(b"good" + END.encode() + b"bad \xff byte")
    with pytest.raises(DataError, match="is not UTF-8"):
        tokenize(tmp_path, "t")
    assert not list((tmp_path / "t").iterdir())


@pytest.mark.usefixtures("corpus")
def test_a_vocabulary_that_was_there_before_stays(tmp_path):
    tokenize(tmp_path, "other")
    (tmp_path / "t").mkdir()
    before = (tmp_path / "other/vocab.json").read_bytes()
    (tmp_path / "t/vocab.json").write_bytes(before)
    config = (tmp_path / "c.yaml").read_text()
    (tmp_path / "c.yaml").write_text(config.replace("vocab_size: 300", f"vocab: {tmp_path / 't/vocab.json'}"))
    (tmp_path / "text.txt").write_bytes(b"bad \xff byte")
    with pytest.raises(DataError, match="is not UTF-8"):
        tokenize(tmp_path, "t")
    assert files(tmp_path / "t") == {"vocab.json": before}


@pytest.mark.usefixtures("corpus")
def test_text_that_all_goes_to_validation_leaves_nothing(tmp_path):
    (tmp_path / "text.txt").write_text(f"one{END}two{END}three")
    with pytest.raises(DataError, match=r"no text to train on in .*text\.txt"):
        tokenize(tmp_path, "t", "data.val_fraction=0.999999999")
    assert not list((tmp_path / "t").iterdir())


@pytest.mark.usefixtures("corpus")
def test_a_source_that_changes_while_it_is_read_is_noticed(tmp_path):
    def change(what, done, total):
        if what == "encoding" and done > total / 2:
            with open(tmp_path / "text.txt", "a") as file:
                file.write("more")

    with pytest.raises(DataError, match="has changed while it was read"):
        tokenize(tmp_path, "t", on_progress=change)


@pytest.mark.usefixtures("corpus")
@pytest.mark.parametrize("damage", [b"", b"PK", None])
def test_a_damaged_journal_is_named(tmp_path, damage):
    with pytest.raises(Interrupted):
        tokenize(tmp_path, "t", on_progress=interrupt_half_way)
    path = tmp_path / "t" / JOURNAL
    path.write_bytes(path.read_bytes()[:-40] if damage is None else damage)
    with pytest.raises(DataError, match=r"\.unfinished\.npz is damaged or of another version"):
        tokenize(tmp_path, "t")


@given(texts=DOCUMENTS, read=st.integers(1, 90), long=st.integers(1, 200), stretch=st.integers(1, 60))
@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_documents_come_back_whatever_the_chunks(tmp_path_factory, texts, read, long, stretch):
    tmp_path = tmp_path_factory.mktemp("any")
    (tmp_path / "text.txt").write_text(END.join([*texts, "last"]), newline="")
    (tmp_path / "c.yaml").write_text(
        f"data: {{train: [{tmp_path / 'text.txt'}], val_fraction: 0}}\ntokenizer: {{vocab_size: 270}}\n"
    )
    found = []
    for size, sizes in (("usual", None), ("small", (read, long, stretch))):
        with pytest.MonkeyPatch.context() as patch:
            if sizes:
                patch.setattr(blocks, "READ_SIZE", read)
                patch.setattr(blocks, "BLOCK_BYTES", read)
                patch.setattr(blocks, "LONG_DOCUMENT", long)
                patch.setattr(long_document, "READ_SIZE", read)
                patch.setattr(long_document, "STRETCH_CHARACTERS", stretch)
                patch.setattr(prepare, "available_cores", lambda: 1)
            tokenize(tmp_path, size)
        found.append((tmp_path / size / "train-00000.npy").read_bytes())
    assert found[0] == found[1]
    ids = np.load(tmp_path / "usual/train-00000.npy")
    text = Tokenizer.load(tmp_path / "usual/vocab.json").decode(ids)
    assert text == "".join(part + END for part in END.join([*texts, "last"]).split(END) if part)
