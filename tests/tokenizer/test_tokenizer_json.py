"""`tokenizer.json` as a vocabulary of ours: the same tokens for any text, or a reason why not."""

import copy
import json
from pathlib import Path

import pytest

from bittygpt.errors import DataError
from bittygpt.tokenizer.tokenizer import Tokenizer
from bittygpt.tokenizer.tokenizer_json import PATTERNS, vocabulary_of

tokenizers = pytest.importorskip("tokenizers")
TEXT = Path(json.__file__).read_text("utf-8") * 2


@pytest.fixture(scope="module")
def theirs():
    from tokenizers import Tokenizer as Theirs
    from tokenizers import models, pre_tokenizers, trainers

    found = Theirs(models.BPE())
    found.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    found.train_from_iterator(
        [TEXT], trainers.BpeTrainer(vocab_size=600, show_progress=False, initial_alphabet=alphabet)
    )
    found.add_special_tokens(["<|endoftext|>"])
    return found


def test_the_same_tokens_under_other_ids(theirs, tmp_path):
    theirs.save(str(tmp_path / "tokenizer.json"))
    ours = Tokenizer.load(tmp_path / "tokenizer.json", ["<|endoftext|>"])
    found = vocabulary_of(json.loads(theirs.to_str()), Path("x"))
    assert (found.ids_there[0], found.special_tokens) == (600, ["<|endoftext|>"])
    for text in (TEXT, "naïve \x00 日本語 🦉\n\n  didn't 123"):
        assert [found.ids_there[i] for i in ours.encode(text)] == theirs.encode(text).ids
    assert len(ours.encode(TEXT)) < len(TEXT) / 2


def test_what_export_writes_comes_back(theirs, tmp_path):
    from bittygpt.export.huggingface.tokenizer import tokenizer_files
    from bittygpt.files import write_json

    theirs.save(str(tmp_path / "tokenizer.json"))
    ours = Tokenizer.load(tmp_path / "tokenizer.json")
    write_json(tmp_path / "again.json", tokenizer_files(ours, 64)["tokenizer.json"])
    again = Tokenizer.load(tmp_path / "again.json")
    assert again.hash() == ours.hash()


@pytest.mark.parametrize("pattern", PATTERNS)
def test_the_ways_to_say_how_gpt2_splits(theirs, pattern):
    value = json.loads(theirs.to_str())
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False}
    split = {"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": False}
    value["pre_tokenizer"] = {"type": "Sequence", "pretokenizers": [split, byte_level]}
    assert vocabulary_of(value, Path("x")).tokens[0] == b"<|endoftext|>"
    value["pre_tokenizer"]["pretokenizers"] = [{**byte_level, "use_regex": True}]
    assert vocabulary_of(value, Path("x")).tokens[0] == b"<|endoftext|>"


def remove_a_token(value):
    left, right = value["model"]["merges"][3]
    del value["model"]["vocab"][left + right]


def remove_a_merge(value):
    del value["model"]["merges"][3]


def other_parts(value):
    merges = value["model"]["merges"]
    place = next(i for i, (left, right) in enumerate(merges) if len(left) > 1 or len(right) > 1)
    whole = "".join(merges[place])
    left = merges[place][0]
    merges[place] = [whole[:1], whole[1:]] if len(left) > 1 else [whole[:-1], whole[-1:]]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda v: v["model"].update(type="Unigram"), "its model is Unigram and not BPE"),
        (lambda v: v["model"].update(byte_fallback=True), "its model has byte_fallback"),
        (lambda v: v.update(normalizer={"type": "NFC"}), r"it changes text first \(normalizer NFC\)"),
        (lambda v: v.update(pre_tokenizer={"type": "Digits"}), r"split text as GPT-2 does \(pre_tokenizer Digits\)"),
        (lambda v: v.update(pre_tokenizer=None), "does not split text as GPT-2 does"),
        (lambda v: v["pre_tokenizer"].update(add_prefix_space=True), "does not split text as GPT-2 does"),
        (lambda v: v["added_tokens"].append({"content": "x", "id": 9}), r"no special token \('x'\)"),
        (lambda v: v["model"].pop("vocab"), "is no tokenizer.json of byte-level BPE"),
        (lambda v: v["model"]["vocab"].update(日=9), "is no tokenizer.json of byte-level BPE"),
        (remove_a_token, "not that of its merges: .* is missing"),
        (remove_a_merge, "(comes from no merge|earlier tokens and not of two)"),
        (other_parts, "(merged from other parts|is missing|earlier tokens)"),
    ],
)  # fmt: skip
def test_what_is_no_vocabulary_of_ours_is_refused(theirs, change, message):
    value = json.loads(theirs.to_str())
    change(copied := copy.deepcopy(value))
    with pytest.raises(DataError, match=message):
        vocabulary_of(copied, Path("x"))
